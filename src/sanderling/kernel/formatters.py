"""
Functions that code registers to show values of a class: IPython's `display_formatter`.

`get_ipython().display_formatter.formatters["text/html"].for_type(Cls, function)`, as sympy's
`init_printing` and people who style their tables have it. A function goes before the class's own
methods. One registry a process, as there is one printer of text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sanderling.kernel import pretty

_MIMES = (
    "text/plain text/html text/markdown image/svg+xml image/png application/pdf image/jpeg "
    "text/latex application/json application/javascript"
).split()
_REQUIRED = object()

Function = Callable[..., Any]


class Formatter:
    """The functions for one media type, by class or by a class's module and name."""

    enabled = True

    def __init__(self) -> None:
        self.type_printers: dict[type, Function] = {}
        self.deferred_printers: dict[tuple[str, str], Function] = {}

    def for_type(self, typ: Any, func: Function | None = None) -> Function | None:
        """Register a function for a class, or for `module.Class`; return the one before."""
        if isinstance(typ, str):
            module, _, name = typ.rpartition(".")
            return self.for_type_by_name(module, name, func)
        before = self.type_printers.get(typ)
        if func is not None:
            self.type_printers[typ] = func
        return before

    def for_type_by_name(
        self, type_module: str, type_name: str, func: Function | None = None
    ) -> Function | None:
        """Register a function for a class that may not be loaded yet."""
        before = self.deferred_printers.get((type_module, type_name))
        if func is not None:
            self.deferred_printers[type_module, type_name] = func
        return before

    def pop(self, typ: Any, default: Any = _REQUIRED) -> Any:
        """Forget the function for a class; return it."""
        known: dict[Any, Function] = self.type_printers
        if isinstance(typ, str):
            known, typ = self.deferred_printers, tuple(typ.rsplit(".", 1))
        return known.pop(typ) if default is _REQUIRED else known.pop(typ, default)

    def lookup_by_type(self, typ: type) -> Function:
        """Return the function for a class."""
        found = self.find(typ)
        if found is None:
            raise KeyError(typ)
        return found

    def lookup(self, value: object) -> Function:
        """Return the function for a value."""
        return self.lookup_by_type(type(value))

    def find(self, kind: type) -> Function | None:
        """Return the function for a class, or the nearest that it derives from."""
        for base in kind.__mro__:
            found = self.type_printers.get(base)
            if found is None and self.deferred_printers:
                found = self.deferred_printers.get((base.__module__, base.__name__))
            if found is not None:
                return found
        return None


class PlainFormatter(Formatter):
    """The same of text, which our own printer prints, containers and all."""

    def for_type(self, typ: Any, func: Function | None = None) -> Function | None:
        before = super().for_type(typ, func)
        if func is not None and not isinstance(typ, str):
            pretty.print_by(typ, func)
        return before

    def for_type_by_name(
        self, type_module: str, type_name: str, func: Function | None = None
    ) -> Function | None:
        before = super().for_type_by_name(type_module, type_name, func)
        if func is not None:
            pretty.print_by_name(type_module, type_name, func)
        return before

    def pop(self, typ: Any, default: Any = _REQUIRED) -> Any:
        found = super().pop(typ, default)
        pretty.print_as_before(typ)
        return found


class DisplayFormatter:
    """IPython's object of this kind, as far as code registers functions with it."""

    def __init__(self) -> None:
        self.formatters = {
            mime: PlainFormatter() if mime == "text/plain" else Formatter() for mime in _MIMES
        }

    @property
    def is_in_use(self) -> bool:
        """Whether anything is registered."""
        return any(f.type_printers or f.deferred_printers for f in self.formatters.values())

    def function_for(self, mime: str, value: object) -> Callable[[], Any] | None:
        """Return what makes `value` of a media type, if a function is registered for it."""
        formatter = self.formatters.get(mime)
        function = None if formatter is None else formatter.find(type(value))
        return None if function is None else lambda: function(value)


FORMATTERS = DisplayFormatter()
