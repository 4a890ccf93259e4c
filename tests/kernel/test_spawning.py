from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.doubles.kernel_process import KernelProcess

SPAWN = "multiprocessing.get_context('spawn')"
DEFINED = """
import concurrent.futures, functools, multiprocessing
from multiprocessing.pool import ThreadPool
def f(n=0): return n * 2
class C:
    def method(self, n): return n
"""


@pytest.fixture(scope="module")
def shared(python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KernelProcess]:
    with KernelProcess(python, tmp_path_factory.mktemp("data")) as made:
        made.run(DEFINED)
        yield made


@pytest.mark.parametrize(
    ("pool", "task", "name"),
    [
        (f"{SPAWN}.Pool(1)", "pool.map(f, [1])", "f"),
        (f"{SPAWN}.Pool(1)", "pool.apply(f, (1,))", "f"),
        (f"{SPAWN}.Pool(1)", "pool.starmap(f, [(1,)])", "f"),
        (f"{SPAWN}.Pool(1)", "list(pool.imap_unordered(f, [1]))", "f"),
        (f"{SPAWN}.Pool(1)", "pool.map(functools.partial(f, 1), [1])", "f"),
        (f"{SPAWN}.Pool(1)", "pool.map(C().method, [1])", "C"),
        (f"{SPAWN}.Pool(1)", "pool.map(str, [[{'deep': C()}]])", "C"),
        (f"{SPAWN}.Pool(1)", "pool.map(lambda n: n, [1])", "<lambda>"),
        (f"{SPAWN}.Pool(1, initializer=f)", "pool.map(abs, [1])", "f"),
        ("multiprocessing.get_context('forkserver').Pool(1)", "pool.map(f, [1])", "f"),
        (
            f"concurrent.futures.ProcessPoolExecutor(1, mp_context={SPAWN})",
            "pool.submit(f).result()",
            "f",
        ),
        ("concurrent.futures.ThreadPoolExecutor(1)", f"{SPAWN}.Process(target=f).start()", "f"),
    ],
)
def test_spawned_processes_refuse_what_only_a_cell_knows_however_deep_it_lies(
    shared: KernelProcess, pool: str, task: str, name: str
) -> None:
    shown = shared.run(f"with {pool} as pool:\n    print({task})")

    [error] = [piece for piece in shown if piece[0] == "error"]
    assert error[1] == "RuntimeError"
    assert f" does not know `{name}`, which a cell has defined." in error[2]
    assert "sanderling/kernel" not in error[3]


@pytest.mark.parametrize("pool", ["multiprocessing.Pool(1)", "ThreadPool(1)"])
def test_pools_of_forked_processes_and_of_threads_take_it(shared: KernelProcess, pool: str) -> None:
    code = f"with {pool} as pool: print(pool.map(functools.partial(f), [1, 2]))"

    assert shared.text(code) == "[2, 4]\n"


def test_spawned_processes_take_what_they_can_import(shared: KernelProcess) -> None:
    (shared.folder / "work.py").write_text("class Work:\n    def do(self, n): return n + 1\n")
    code = f"import work\nwith {SPAWN}.Pool(1) as pool: print(pool.map(work.Work().do, [1, 2]))"

    assert shared.text(code) == "[2, 3]\n"


def test_what_cannot_be_sent_at_all_is_the_tasks_own_error_as_everywhere(
    shared: KernelProcess,
) -> None:
    code = (
        "import threading\n"
        f"with concurrent.futures.ProcessPoolExecutor(1, mp_context={SPAWN}) as p:\n"
        "    print(type(p.submit(len, threading.Lock()).exception()).__name__)"
    )

    assert shared.text(code) == "TypeError\n"


def test_spawned_processes_of_a_file_that_is_run_know_what_it_defines(
    shared: KernelProcess,
) -> None:
    (shared.folder / "program.py").write_text(
        "import multiprocessing\ndef g(n): return n * 3\nif __name__ == '__main__':\n"
        f"    with {SPAWN}.Pool(1) as pool: print(pool.map(g, [1, 2]))\n"
    )

    assert shared.text("%run program.py") == "[3, 6]\n"
