"""
One of everything: values of our records, made from their types, for projections to show.

So what a projection can give is found by letting it give it, and a record that is added is there
without a word here.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Literal, get_args, get_origin

_WORD = "x"


def of(annotation: Any) -> list[Any]:
    """
    Return values of a type: one of each kind that it can be, nothing last.

    Of a dataclass, the fields are varied one at a time: what one of them is does not hang on
    another. A tuple has one of each kind of its elements at once, then each of them alone.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if dataclasses.is_dataclass(annotation):
        return _of_dataclass(annotation)
    if origin is Literal:
        return list(arguments)
    if origin in (typing.Union, types.UnionType):
        kinds = sorted(arguments, key=lambda kind: kind is type(None))
        return [value for kind in kinds for value in of(kind)]
    if origin is tuple:
        elements = of(arguments[0])
        return [tuple(elements), *((element,) for element in elements)]
    simple: dict[Any, list[Any]] = {
        bool: [True, False],
        dict: [{}],
        float: [1.0],
        int: [1],
        str: [_WORD],
        type(None): [None],
        Any: [_WORD],
    }
    return simple[origin or annotation]


def _of_dataclass(kind: Any) -> list[Any]:
    hints = typing.get_type_hints(kind)
    values = {field.name: of(hints[field.name]) for field in dataclasses.fields(kind)}
    base = kind(**{name: each[0] for name, each in values.items()})
    varied = [
        dataclasses.replace(base, **{name: value})
        for name, each in values.items()
        for value in each[1:]
    ]
    return [base, *varied]
