"""Nobody is there to type, and the code is told so at once."""

from __future__ import annotations

import pytest

from tests.doubles.kernel_process import KernelProcess


@pytest.fixture(scope="module")
def shared(python: str, tmp_path_factory: pytest.TempPathFactory):
    with KernelProcess(python, tmp_path_factory.mktemp("data")) as made:
        yield made


@pytest.mark.parametrize(
    "code",
    [
        "input('name? ')",
        "import getpass\ngetpass.getpass()",
        "from getpass import getpass\ngetpass('key: ')",
        "breakpoint()",
        "import pdb\npdb.set_trace()",
        "from pdb import set_trace\nset_trace()",
        "import pdb\npdb.run('1')",
        "import pdb\ntry: 1/0\nexcept ZeroDivisionError: pdb.post_mortem()",
    ],
)
def test_waiting_for_a_keyboard_is_an_error_that_says_why(shared: KernelProcess, code: str) -> None:
    shown = shared.run(code)

    assert [piece[0] for piece in shown] == ["error", "done"]
    assert shown[0][1] == "EOFError"
    assert "does not work here: nobody can type" in shown[0][2]
