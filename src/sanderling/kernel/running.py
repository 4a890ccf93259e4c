"""`%run file.py`: a file as a program of its own, whose names the session has afterwards."""

from __future__ import annotations

import builtins
import os
import runpy
import sys
import types
from collections.abc import Sequence
from typing import Any

_compile, _exec, _modules = builtins.compile, builtins.exec, sys.modules


def run_file(path: str, argv: Sequence[str], names: dict[str, Any], *, is_inside: bool) -> None:
    """
    Run the file at `path`; add what it defines to `names`, also when it raises.

    is_inside: it sees the session's names too.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        source = file.read()
    main, before = _modules["__main__"], sys.argv
    module = main if is_inside else types.ModuleType("__main__")
    module.__dict__["__file__"] = path
    _modules["__main__"], sys.argv = module, [path, *argv]
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    try:
        code = _compile(source, os.path.abspath(path), "exec", dont_inherit=True)
        _exec(code, module.__dict__)
    except SystemExit as leaving:
        if leaving.code not in (None, 0):
            raise
    finally:
        _modules["__main__"], sys.argv = main, before
        sys.path.pop(0)
        module.__dict__.pop("__file__", None)
        names.update({n: v for n, v in vars(module).items() if not n.startswith("__")})
        names["__ran__"] = module  # its functions need its names


def run_module(name: str, argv: Sequence[str], names: dict[str, Any]) -> None:
    """
    Run a module, or a package's `__main__`, as `python -m` does; add what it defines to `names`.

    Raises:
        ImportError: there is none of that name.
    """
    before = sys.argv
    sys.argv = [name, *argv]
    try:
        found = runpy.run_module(name, run_name="__main__", alter_sys=True)
    except SystemExit as leaving:
        if leaving.code not in (None, 0):
            raise
    else:
        names.update({n: v for n, v in found.items() if not n.startswith("__")})
    finally:
        sys.argv = before
