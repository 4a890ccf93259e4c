"""`%autoreload`: modules that a cell has changed on disk are loaded again before the next one."""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import Any

_NEVER = "<frozen "


class Reloader:
    """Knows when the modules that the user's code has imported were written."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.is_on = False
        self._names = names
        self._written: dict[str, float] = {}

    def configure(self, mode: str) -> None:
        """Do `%autoreload 2`, `%autoreload 0`; without a number, load again once."""
        if mode.strip() in ("0", "off"):
            self.is_on = False
            return
        self._look()
        self.is_on = mode.strip() != "" or self.is_on
        if not mode.strip():
            self.reload()

    def reload(self) -> None:
        """Load again what has changed. Runs user code."""
        for name in self._look():
            module = sys.modules[name]
            before = dict(vars(module))
            try:
                importlib.reload(module)
            except Exception as error:  # noqa: BLE001 - whatever the file says now
                print(f"[autoreload of {name} failed: {type(error).__name__}: {error}]")
                continue
            self._rebind(before, module)

    def _rebind(self, before: dict[str, Any], module: ModuleType) -> None:
        """What `from module import name` has bound in cells is the new one as well."""
        for name, old in before.items():
            if name in vars(module) and self._names.get(name) is old and old is not None:
                self._names[name] = vars(module)[name]

    def _look(self) -> list[str]:
        """The modules that were written since the last look. Only the user's own are looked at."""
        changed: list[str] = []
        for name, module in list(sys.modules.items()):
            path = getattr(module, "__file__", None)
            if name == "__main__" or not isinstance(path, str) or path.startswith(sys.prefix):
                continue
            if path.startswith((sys.base_prefix, _NEVER)) or "site-packages" in path:
                continue
            try:
                written = os.stat(path).st_mtime
            except OSError:
                continue
            if self._written.get(name, written) != written:
                changed.append(name)
            self._written[name] = written
        return changed
