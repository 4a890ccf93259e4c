"""A kernel that was made and rehearsed before its host is there, as in a box of a pool."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles import kernel_process
from tests.doubles.kernel_process import KernelProcess

OK = ("done", "ok")
_START = """
import os, sys
root, *fds, data_folder = sys.argv[1:]
sys.path.insert(0, root)
from sanderling.kernel import main, rehearsal
sys.path.remove(root)
kernel = rehearsal.rehearsed_kernel(rehearsal.hold_descriptors(), data_folder=data_folder)
for place, fd in enumerate(fds, start=3):
    os.dup2(int(fd), place, inheritable=False)
os.closerange(6, 300)
main._QUIET_S = QUIET_S
kernel.run(rehearsal.settle)
"""


@pytest.fixture(params=["0", "60"], ids=["in-advance", "at-once"])
def rehearsed(
    request: pytest.FixtureRequest, python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[KernelProcess]:
    start = _START.replace("QUIET_S = QUIET_S", f"QUIET_S = {request.param}")
    monkeypatch.setattr(kernel_process, "_START", start)
    with KernelProcess(python, tmp_path) as made:
        yield made


def test_it_has_run_no_cell_and_said_nothing(rehearsed: KernelProcess) -> None:
    code = (
        "import linecache, sys\n"
        "print(In[:1], Out, repr(_), sorted(n for n in globals() if n[0] != '_'))\n"
        "[n for n in linecache.cache if n.startswith('<cell ')], sys.argv"
    )

    assert rehearsed.early == []
    assert rehearsed.run(code) == [
        ("stdout", "[''] {} '' ['In', 'Out', 'linecache', 'sys']\n"),
        ("result", "(['<cell 1>'], [''])"),
        OK,
    ]


def test_it_is_a_kernel_like_any_other(rehearsed: KernelProcess) -> None:
    rehearsed.configure(memory_bytes=1 << 30, cpu_count=1)

    assert rehearsed.run("import os; os.system('echo one'); print('two'); _") == [
        ("stdout", "one\ntwo\n"),
        ("result", "''"),
        OK,
    ]
    assert rehearsed.run("%pwd")[-1] == OK
    shown = rehearsed.run("1 / 0")
    assert [piece[0] for piece in shown] == ["error", "done"]
    assert '"<cell 3>", line 1' in shown[0][3]
    assert rehearsed.run_interrupted("print('on')\nwhile True: pass", after="on")[-1] == (
        "done",
        "interrupted",
    )
