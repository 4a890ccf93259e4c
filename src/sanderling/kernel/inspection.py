"""What is told of objects and names: `f?`, `f??`, `%who`, `%whos`."""

from __future__ import annotations

import fnmatch
import inspect
import os
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_STRING_FORM_CHARS_MAX = 200
_SHOWN_CHARS_MAX = 50  # of a value in the table of `%whos`
_NAMES_PER_LINE = 9
_PLAIN_DOCUMENTED = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)


# ---- one object ---------------------------------------------------------------------------------


def describe(value: object, name: str, *, is_long: bool) -> str:
    """
    Tell what `value` is, in IPython's words.

    is_long: with its source, if it has one.
    """
    fields = [
        (title, text) for title, text in _fields(value, name, is_long=is_long) if text is not None
    ]
    width = max(len(title) for title, _ in fields) + 1
    return "\n".join(
        f"{title + ':':<{width}}" + ("\n" if "\n" in text else " ") + text for title, text in fields
    )


def _fields(value: Any, name: str, *, is_long: bool) -> Iterator[tuple[str, str | None]]:
    is_function = isinstance(value, _PLAIN_DOCUMENTED) or inspect.isroutine(value)
    is_class = inspect.isclass(value)
    source = _source(value) if is_long else None
    if is_function or is_class:
        yield "Init signature" if is_class else "Signature", _signature(value, name)
    else:
        yield "Type", type(value).__name__
        yield "String form", _string_form(value)
        yield "Length", _length(value)
    if is_function or is_class:
        yield from _documented(value, source)
        yield "File", _file(value)
        yield "Type", type(value).__name__
        if is_class:
            yield "Subclasses", ", ".join(c.__name__ for c in type.__subclasses__(value)[:10])
    else:
        yield "File", _file(value)
        yield from _documented(value, source)


def _documented(value: Any, source: str | None) -> Iterator[tuple[str, str | None]]:
    told = inspect.getdoc(value)
    if source is None or told is None:
        yield "Docstring", told or "<no docstring>"
    if source is not None:
        yield "Source", source.rstrip()
        return
    kind = value if inspect.isclass(value) else type(value)
    init = kind.__init__ if kind.__module__ != "builtins" else None
    if isinstance(init, types.FunctionType):
        yield "Init docstring", inspect.getdoc(init)


def _signature(value: Any, name: str) -> str | None:
    try:
        return f"{name}{inspect.signature(value)}"
    except (TypeError, ValueError):
        return None


def _string_form(value: object) -> str:
    text = str(value)
    half = _STRING_FORM_CHARS_MAX // 2
    shown = text if len(text) <= 2 * half else f"{text[:half]} <...> {text[-half:]}"
    return shown.replace("\n", "\n" + " " * 13)


def _length(value: Any) -> str | None:
    try:
        return str(len(value))
    except Exception:  # noqa: BLE001 - whatever its own code raises: it has none
        return None


def _file(value: Any) -> str | None:
    try:
        path = inspect.getfile(value if inspect.isroutine(value) else _module_or_class(value))
    except (TypeError, OSError):
        return None
    return path if path.startswith("<") else os.path.abspath(path)


def _module_or_class(value: Any) -> Any:
    return value if inspect.ismodule(value) or inspect.isclass(value) else type(value)


def _source(value: Any) -> str | None:
    try:
        return inspect.getsource(value if inspect.isroutine(value) else _module_or_class(value))
    except (TypeError, OSError):
        return None


def source(value: Any, name: str) -> str:
    """The source, for `%psource`."""
    return _source(value) or f"No source found for {name}"


def signature(value: Any, name: str) -> str:
    """How it is called, for `%pdef`."""
    return f" {_signature(value, name) or 'No definition header found.'} "


def documentation(value: Any) -> str:
    """Its docstrings, for `%pdoc`."""
    is_class = inspect.isclass(value)
    first = f"Class docstring:\n{_indented(inspect.getdoc(value) or '<no docstring>')}"
    call = value.__init__ if is_class else vars(type(value)).get("__call__")
    told = inspect.getdoc(call) if call is not None else None
    title = "Init docstring" if is_class else "Call docstring"
    return first if told is None else f"{first}\n{title}:\n{_indented(told)}"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


# ---- names --------------------------------------------------------------------------------------


def matching(pattern: str, names: Sequence[str]) -> str:
    """The names a pattern with `*` stands for, one a line."""
    return "\n".join(sorted(fnmatch.filter(names, pattern), key=str.lower))


def names_of(names: Mapping[str, Any], kinds: Sequence[str]) -> list[str]:
    """The user's names, of the types named if there are any."""
    return [n for n in sorted(names) if not kinds or type(names[n]).__name__ in kinds]


def print_names(found: Sequence[str], kinds: Sequence[str]) -> None:
    """`%who`."""
    if not found:
        print(_nothing(kinds))
        return
    for place, name in enumerate(found, start=1):
        print(f"{name}\t", end=" " if place % _NAMES_PER_LINE else " \n")
    print()


def print_table(names: Mapping[str, Any], found: Sequence[str], kinds: Sequence[str]) -> None:
    """`%whos`."""
    if not found:
        print(_nothing(kinds))
        return
    types_ = [type(names[name]).__name__ for name in found]
    first = max(len("Variable"), *map(len, found)) + 3
    second = max(len("Type"), *map(len, types_)) + 3
    print(f"{'Variable':<{first}}{'Type':<{second}} Data/Info")
    print("-" * (first + second + 10))
    for name, kind in zip(found, types_, strict=True):
        print(f"{name:<{first}}{kind:<{second}} {_shown(names[name])}")


def _nothing(kinds: Sequence[str]) -> str:
    return "No variables match your requested type." if kinds else "Interactive namespace is empty."


def _shown(value: Any) -> str:
    kind = type(value).__name__
    if kind in ("dict", "list", "tuple"):
        return f"n={len(value)}"
    if kind == "ndarray":
        shape = "x".join(map(str, value.shape))
        return f"{shape}: {value.size} elems, type `{value.dtype}`, {value.nbytes} bytes"
    text = str(value).replace("\n", "\\n")
    half = _SHOWN_CHARS_MAX // 2
    return text if len(text) < _SHOWN_CHARS_MAX else f"{text[:half]}<...>{text[-half:]}"
