"""
The text of a value, laid out as IPython lays it out: what a model knows from notebooks.

Containers that do not fit into 79 columns are broken after their commas, sets are sorted, a long
container ends in `...`, a class is its name. Values with a `__repr__` of their own keep it. Which
line breaks are chosen follows IPython's printer to the letter, its peculiarities included, because
anything else would be other text; the tests hold it against the real one.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import re
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sanderling.kernel.layout import WIDTH, Layout

ITEMS_MAX = 1000  # of one container

_BUILTIN_MODULES = (None, "__builtin__", "builtins", "exceptions")

# One line whatever they hold, and the same as their repr.
_ATOMS = {int, float, str, bool, bytes, complex, type(None)}
_ROWS, _TABLES = {list, tuple}, {dict}

Printing = Callable[[Any, "Printer", bool], None]


def pretty(value: object) -> str:
    """Return the text of a value. Runs its code; raises whatever that raises."""
    kind = type(value)
    if kind in _ATOMS:
        return repr(value)
    if _is_short_row(value, kind):
        text = repr(value)
        if len(text) < WIDTH:
            return text
    printer = Printer()
    printer.pretty(value)
    printer.flush()
    return printer.text_so_far


def _is_short_row(value: Any, kind: type) -> bool:
    """Whether it is a plain container of a few atoms: if its repr fits into a line, it is that."""
    if kind in _ROWS:
        return len(value) < WIDTH and all(type(item) in _ATOMS for item in value)
    if kind in _TABLES:
        return len(value) < WIDTH and all(
            type(key) in _ATOMS and type(item) in _ATOMS for key, item in value.items()
        )
    return False


class Printer(Layout):
    """A layout that knows how values are printed. Has what a `_repr_pretty_` asks of IPython's."""

    max_seq_length = ITEMS_MAX
    verbose = False

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[int] = []

    def pretty(self, value: Any) -> None:
        """Add a value in its own way."""
        if type(value) in _ATOMS:
            text = repr(value)
            if self.has_room(len(text)):  # then groups of its own would change nothing
                self.text(text)
                return
        number = id(value)
        is_cycle = number in self.stack
        self.stack.append(number)
        self.begin_group()
        try:
            _printing_of(value)(value, self, is_cycle)
        finally:
            self.end_group()
            self.stack.pop()


# ---- which way a value is printed ---------------------------------------------------------------


def _printing_of(value: Any) -> Printing:
    kind = _attribute(value, "__class__") or type(value)
    for base in _bases(kind):
        found = _PRINTINGS.get(base)
        if found is None:
            found = _LATER_PRINTINGS.get((_attribute(base, "__module__"), base.__name__))
        if found is not None:
            return found
        own = _own_printing(base)
        if own is not None:
            return own
    return _print_plain_object


def _own_printing(base: type) -> Printing | None:
    if "_repr_pretty_" in base.__dict__:
        method = base._repr_pretty_  # type: ignore[attr-defined]
        if callable(method):
            own: Printing = method
            return own
    has_repr = base is not object and "__repr__" in base.__dict__
    return _print_repr if has_repr and callable(_attribute(base, "__repr__")) else None


def _bases(kind: Any) -> Iterable[type]:
    try:
        bases: Iterable[type] = kind.__mro__
    except AttributeError:
        bases = (kind, object)
    return bases


def _attribute(value: Any, name: str, otherwise: Any = None) -> Any:
    """Like getattr, for values that raise anything when they are asked."""
    try:
        return getattr(value, name, otherwise)
    except Exception:  # noqa: BLE001 - user code
        return otherwise


def _print_repr(value: Any, printer: Printer, _is_cycle: bool) -> None:
    lines = repr(value).splitlines()
    with printer.group():
        for number, line in enumerate(lines):
            if number:
                printer.break_()
            printer.text(line)


def _print_number(value: Any, printer: Printer, _is_cycle: bool) -> None:
    printer.text(repr(value))  # in no group of its own, which is seen in rare layouts


def _print_plain_object(value: Any, printer: Printer, is_cycle: bool) -> None:
    """Print an object without a repr: its class and where it is."""
    kind = _attribute(value, "__class__") or type(value)
    if _attribute(kind, "__repr__") is not object.__repr__:
        _print_repr(value, printer, is_cycle)
        return
    with printer.group(1, "<"):
        printer.pretty(kind)
        printer.text(f" at 0x{id(value):x}")
        if is_cycle:
            printer.text(" ...")
    printer.text(">")


# ---- containers ---------------------------------------------------------------------------------


def _items(printer: Printer, items: Iterable[Any]) -> Iterator[Any]:
    """Yield the items with what stands between them, up to as many as are shown."""
    for number, item in enumerate(items):
        if number:
            printer.text(",")
            printer.breakable()
        if number >= ITEMS_MAX:
            printer.text("...")
            return
        yield item


def _row(start: str, end: str) -> Printing:
    def print_row(value: Any, printer: Printer, is_cycle: bool) -> None:
        if is_cycle:
            printer.text(f"{start}...{end}")
            return
        printer.begin_group(len(start), start)
        for item in _items(printer, value):
            printer.pretty(item)
        if len(value) == 1 and isinstance(value, tuple):
            printer.text(",")
        printer.end_group(len(start), end)

    return print_row


def _set(start: str, end: str, name: str) -> Printing:
    def print_set(value: Any, printer: Printer, is_cycle: bool) -> None:
        if is_cycle:
            printer.text(f"{start}...{end}")
        elif not value:
            printer.text(f"{name}()")
        else:
            items = value if len(value) >= ITEMS_MAX else _sorted(value)
            printer.begin_group(len(start), start)
            for item in _items(printer, items):
                printer.pretty(item)
            printer.end_group(len(start), end)

    return print_set


def _sorted(items: Iterable[Any]) -> list[Any]:
    listed = list(items)
    for key in (None, str):
        try:
            return sorted(listed, key=key)
        except Exception:  # noqa: BLE001, S112 - not comparable, or user code
            continue
    return listed


def _table(start: str, end: str) -> Printing:
    def print_table(value: Any, printer: Printer, is_cycle: bool) -> None:
        if is_cycle:
            printer.text("{...}")
            return
        printer.begin_group(len(start), start)
        for key in _items(printer, value.keys()):
            printer.pretty(key)
            printer.text(": ")
            printer.pretty(value[key])
        printer.end_group(len(start), end)

    return print_table


# ---- values that look like the call that makes them ---------------------------------------------


class _Call:
    """`name(arguments, key=values)`, a value of its own in the eyes of the printer."""

    def __init__(self, name: str, *arguments: Any, **keywords: Any) -> None:
        self._name = name
        self._arguments = arguments
        self._keywords = keywords

    def _repr_pretty_(self, printer: Printer, _is_cycle: bool) -> None:
        opening = f"{self._name}("
        with printer.group(len(opening), opening, ")"):
            pieces = [("", a) for a in self._arguments]
            pieces += [(f"{key}=", a) for key, a in self._keywords.items()]
            for number, (label, argument) in enumerate(pieces):
                if number:
                    printer.text(",")
                    printer.breakable()
                if not label:
                    printer.pretty(argument)
                    continue
                with printer.group(len(label), label):
                    printer.pretty(argument)


class _Raw:
    """Text that is printed as it is."""

    def __init__(self, text: str) -> None:
        self._text = text

    def _repr_pretty_(self, printer: Printer, _is_cycle: bool) -> None:
        printer.text(self._text)


def _as_call(call_of: Callable[[Any], _Call]) -> Printing:
    def print_call(value: Any, printer: Printer, is_cycle: bool) -> None:
        call = _Call(_class_name(value), _Raw("...")) if is_cycle else call_of(value)
        printer.pretty(call)

    return print_call


def _class_name(value: Any) -> str:
    name: str = value.__class__.__name__
    return name


def _deque(value: Any) -> _Call:
    if value.maxlen is not None:
        return _Call(_class_name(value), list(value), maxlen=value.maxlen)
    return _Call(_class_name(value), list(value))


def _ordered(value: Any) -> _Call:
    return _Call(_class_name(value), *([list(value.items())] if len(value) else []))


def _counter(value: Any) -> _Call:
    return _Call(_class_name(value), *([dict(value.most_common())] if len(value) else []))


def _default(value: Any) -> _Call:
    return _Call(_class_name(value), value.default_factory, dict(value))


def _user_list(value: Any) -> _Call:
    return _Call(_class_name(value), value.data)


def _print_namespace(value: Any, printer: Printer, is_cycle: bool) -> None:
    keywords = {} if is_cycle else vars(value)
    printer.pretty(_Call("namespace", *([_Raw("...")] if is_cycle else []), **keywords))


def _print_pattern(value: re.Pattern[Any], printer: Printer, _is_cycle: bool) -> None:
    literal = "r" + repr(value.pattern).replace("\\\\", "\\")
    flags = "|".join(f"re.{name}" for name in _FLAGS if value.flags & getattr(re, name))
    printer.pretty(_Call("re.compile", _Raw(literal), *([_Raw(flags)] if flags else [])))


def _print_exception(value: BaseException, printer: Printer, _is_cycle: bool) -> None:
    kind = value.__class__
    name = getattr(kind, "__qualname__", kind.__name__)
    if kind.__module__ not in _BUILTIN_MODULES:
        name = f"{kind.__module__}.{name}"
    printer.pretty(_Call(name, *getattr(value, "args", ())))


# ---- values that are known by a name ------------------------------------------------------------


def _print_class(value: Any, printer: Printer, is_cycle: bool) -> None:
    with_repr = next((k for k in _bases(type(value)) if "__repr__" in vars(k)), None)
    if with_repr is not type:
        _print_repr(value, printer, is_cycle)
        return
    module = _attribute(value, "__module__")
    name = _attribute(value, "__qualname__")
    if not isinstance(name, str):
        name = value.__name__
    printer.text(name if module in _BUILTIN_MODULES else f"{module}.{name}")


def _print_function(value: Any, printer: Printer, _is_cycle: bool) -> None:
    name = _attribute(value, "__qualname__", value.__name__)
    if value.__module__ and value.__module__ not in _BUILTIN_MODULES:
        name = f"{value.__module__}.{name}"
    with contextlib.suppress(ValueError):  # a builtin that does not tell
        name += str(inspect.signature(value))
    printer.text(f"<function {name}>")


def _print_super(value: Any, printer: Printer, _is_cycle: bool) -> None:
    with printer.group(8, "<super: ", ">"):
        printer.pretty(value.__thisclass__)
        printer.text(",")
        printer.breakable()
        printer.pretty(value.__self__)


_FLAGS = ("IGNORECASE", "LOCALE", "MULTILINE", "DOTALL", "UNICODE", "VERBOSE", "DEBUG")

_PRINTINGS: dict[type, Printing] = {
    int: _print_repr,
    float: _print_number,
    str: _print_repr,
    bytes: _print_repr,
    tuple: _row("(", ")"),
    list: _row("[", "]"),
    dict: _table("{", "}"),
    set: _set("{", "}", "set"),
    frozenset: _set("frozenset({", "})", "frozenset"),
    types.MappingProxyType: _table("mappingproxy({", "})"),
    type(os.environ): _table("environ{", "}"),
    super: _print_super,
    type: _print_class,
    types.FunctionType: _print_function,
    types.BuiltinFunctionType: _print_function,
    types.MethodType: _print_repr,
    types.SimpleNamespace: _print_namespace,
    BaseException: _print_exception,
    re.Pattern: _print_pattern,
}
# By module and name: what is loaded later, or by nobody.
_LATER_PRINTINGS: dict[tuple[Any, str], Printing] = {
    ("collections", "defaultdict"): _as_call(_default),
    ("collections", "OrderedDict"): _as_call(_ordered),
    ("collections", "deque"): _as_call(_deque),
    ("collections", "Counter"): _as_call(_counter),
    ("collections", "UserList"): _as_call(_user_list),
}


_ORIGINAL = dict(_PRINTINGS)
_FAST: tuple[tuple[set[Any], frozenset[Any]], ...] = tuple(
    (kinds, frozenset(kinds)) for kinds in (_ATOMS, _ROWS, _TABLES)
)


def print_by(kind: type, printing: Printing) -> None:
    """Print values of a class, and of those that derive from it, by a function from now on."""
    _PRINTINGS[kind] = printing
    for kinds, _ in _FAST:
        kinds.discard(kind)


def print_by_name(module: str, name: str, printing: Printing) -> None:
    """The same of a class that may not be loaded yet."""
    _LATER_PRINTINGS[module, name] = printing


def print_as_before(kind: Any) -> None:
    """Print values of a class as if nothing had been said of it."""
    if isinstance(kind, str):
        module, _, name = kind.rpartition(".")
        _LATER_PRINTINGS.pop((module, name), None)
        return
    _PRINTINGS.pop(kind, None)
    if kind in _ORIGINAL:
        _PRINTINGS[kind] = _ORIGINAL[kind]
    for kinds, original in _FAST:
        if kind in original:
            kinds.add(kind)


def format_floats(template: str | None) -> None:
    """Print floats by a template like `%.3f` from now on; None: as Python does."""
    if template is None:
        print_as_before(float)
    else:
        print_by(float, lambda value, printer, _is_cycle: printer.text(template % value))
