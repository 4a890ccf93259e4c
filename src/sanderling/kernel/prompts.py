"""What would wait for somebody at a keyboard, and says at once that nobody is there."""

from __future__ import annotations

import builtins
import sys
from types import ModuleType
from typing import Any, NoReturn

from sanderling.kernel.hooks import after_import

_NOBODY = "does not work here: nobody can type an answer."


def install() -> None:
    """Stand in for `input`, `getpass` and the debugger's prompt."""
    names: Any = builtins
    names.input = _input
    sys.breakpointhook = _breakpoint
    after_import({"getpass": _replace_getpass, "pdb": _replace_debugger})


def _input(prompt: object = "", /) -> str:  # noqa: ARG001 - the builtin's signature
    """Stand in for the builtin: nobody is there to type."""
    raise EOFError(f"input() {_NOBODY} Put the value into the code.")


def _breakpoint(*_args: object, **_options: object) -> NoReturn:
    raise EOFError("breakpoint() does not work here: nobody can type commands. Print the values.")


def _replace_getpass(module: ModuleType) -> None:
    def getpass(prompt: str = "Password: ", stream: object = None) -> str:  # noqa: ARG001
        raise EOFError(f"getpass() {_NOBODY} Put the value into the code.")

    names: Any = module
    names.getpass = getpass


def _replace_debugger(module: ModuleType) -> None:
    """Have each way into a session with the debugger end with a sentence."""

    def ask(*_args: object, **_options: object) -> NoReturn:
        raise EOFError(
            "The debugger does not work here: nobody can type commands. Print the values."
        )

    names: Any = module
    names.Pdb.cmdloop = names.Pdb.interaction = ask
    names.set_trace = names.post_mortem = names.pm = ask
