"""Acting on libraries when they are loaded, so that a cell that needs none pays for none."""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, cast

_modules = sys.modules


class _Finder:
    """The first of `sys.meta_path`: finds as the others do, and adds a step after loading."""

    def __init__(self, hooks: Mapping[str, Callable[[ModuleType], None]]) -> None:
        self._hooks = hooks

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        hook = self._hooks.get(name)
        if hook is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        loader = spec.loader
        load = loader.exec_module

        def load_and_act(module: ModuleType) -> None:
            load(module)
            hook(module)

        # On this loader only; it stays what it is for everybody who asks it something.
        loader.exec_module = load_and_act  # type: ignore[method-assign]
        return spec


def do_nothing(*_arguments: object, **_options: object) -> None:
    """Stand in for what has nothing to do here."""


def after_import(hooks: Mapping[str, Callable[[ModuleType], None]]) -> None:
    """Call each hook with its module: now if it is loaded, and whenever it is loaded later."""
    for name, hook in hooks.items():
        module = _modules.get(name)
        if module is not None:
            hook(module)
    sys.meta_path.insert(0, cast("Any", _Finder(hooks)))
