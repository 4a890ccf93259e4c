"""
What an object has, as paths of names: `tools[]:code_interpreter.container:auto.file_ids`.

`.name` is a field, `[]` stands for the elements of an array, `:tag` for the object whose `type` is
that. Types of Python, JSON schemas and values are read the same way, so that they can be compared.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Literal, get_args, get_origin

import typing_extensions
from pydantic import BaseModel

# What begins the rest of a path below another.
_BELOW = (".", "[", ":")
_NO_FIELDS: dict[str, Any] = {}


def is_below(path: str, above: str) -> bool:
    """Whether `path` is a part of what `above` names."""
    return path.startswith(above) and path[len(above) :].startswith(_BELOW)


def above(path: str) -> list[str]:
    """Return what `path` is a part of."""
    return [path[: match.start()] for match in re.finditer(r"[.\[:]", path)]


def first_name(path: str) -> str:
    """Return the field that a path begins with."""
    return re.split(r"[.\[:]", path, maxsplit=1)[0]


def has(known: AbstractSet[str], path: str) -> bool:
    """Whether `path` is there, also where no tag tells the objects of its place apart."""
    if path in known or any(is_below(each, path) for each in known):
        return True
    for tag in re.finditer(r":\w+", path):
        place = path[: tag.start()]
        if not place or any(each.startswith(f"{place}:") for each in known):
            continue
        if has(known, place + path[tag.end() :]):
            return True
    return False


def untagged(path: str) -> str:
    """Return a path without the tags that fields are below; a tag at its end says what it is of."""
    return re.sub(r":\w+(?=[.\[])", "", path)


def topmost(paths: AbstractSet[str]) -> list[str]:
    """Return those that are not below another, in order."""
    kept: list[str] = []
    for path in sorted(paths):
        if not any(is_below(path, above) for above in kept):
            kept.append(path)
    return kept


def _object(fields: Mapping[str, Any], tags: list[str], at: str) -> Iterator[tuple[str, Any]]:
    """Yield the paths of an object's fields, each with what it holds, and those of its tags."""
    for place in [f"{at}:{tag}" for tag in tags] or [at]:
        if tags:
            yield place, None
        for name, value in fields.items():
            if not (tags and name == "type"):
                yield f"{place}.{name}" if place else name, value


# ---- of types ----------------------------------------------------------------------------------


def of_type(
    annotation: Any, at: str = "", inside: tuple[Any, ...] = (), *, shallow: bool = False
) -> Iterator[str]:
    """
    Yield the paths of a type: pydantic models, TypedDicts, and what is made of them.

    inside: the types that this one was found in. shallow: without what its fields hold.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (typing.Annotated, typing_extensions.Required, typing_extensions.NotRequired):
        yield from of_type(arguments[0], at, inside)
    elif origin in (typing.Union, types.UnionType):
        for each in arguments:
            yield from of_type(each, at, inside)
    elif isinstance(annotation, typing_extensions.TypeAliasType):
        yield from of_type(annotation.__value__, at, inside)
    elif origin is not None and len(arguments) == 1 and origin is not Literal:
        yield from of_type(arguments[0], f"{at}[]", inside)  # a list of some kind
    elif annotation not in inside and (fields := _fields_of(annotation)):
        tags = [tag for tag in _literals(fields.get("type")) if isinstance(tag, str)]
        for path, held in _object(fields, tags, at):
            yield path
            if held is not None and not shallow:
                yield from of_type(held, path, (*inside, annotation))


def _fields_of(annotation: Any) -> dict[str, Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {
            field.alias or name: field.annotation for name, field in annotation.model_fields.items()
        }
    if not typing_extensions.is_typeddict(annotation):
        return _NO_FIELDS
    hints = typing_extensions.get_type_hints(annotation, include_extras=True)
    return {_alias(hint) or name: hint for name, hint in hints.items()}


def _alias(hint: Any) -> str | None:
    """Return the name on the wire, where the SDK's is another."""
    while get_origin(hint) is not None:
        for each in getattr(hint, "__metadata__", ()):
            if alias := getattr(each, "alias", None):
                return str(alias)
        if get_origin(hint) not in (
            typing.Annotated,
            typing_extensions.Required,
            typing_extensions.NotRequired,
        ):
            return None
        hint = get_args(hint)[0]
    return None


def _literals(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return tuple(value for each in get_args(annotation) for value in _literals(each))


# ---- of JSON schemas ---------------------------------------------------------------------------


def of_schema(
    schema: Mapping[str, Any], components: Mapping[str, Any], at: str = ""
) -> Iterator[str]:
    """Yield the paths of a JSON schema; `components` has what it refers to."""
    schema = _whole(schema, components)
    for each in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from of_schema(each, components, at)
    if "items" in schema:
        yield from of_schema(schema["items"], components, f"{at}[]")
    fields = {_dotted(name): held for name, held in schema.get("properties", {}).items()}
    kind = fields.get("type", {})
    tags = [kind["const"]] if "const" in kind else kind.get("enum", [])
    for path, held in _object(fields, tags, at):
        yield path
        if held is not None:
            yield from of_schema(held, components, path)


def _whole(schema: Mapping[str, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema with what it refers to, and with what it is all of."""
    whole = dict(schema)
    if "$ref" in whole:
        whole |= _whole(components[whole.pop("$ref").rpartition("/")[2]], components)
    for each in whole.pop("allOf", ()):
        part = _whole(each, components)
        properties = whole.get("properties", {}) | part.get("properties", {})
        whole |= part | ({"properties": properties} if properties else {})
    return whole


def _dotted(name: str) -> str:
    """Return a field of a form as a field of an object: `expires_after[anchor]`."""
    return name.replace("[", ".").replace("]", "")


# ---- of values ---------------------------------------------------------------------------------


def of_value(value: Any, at: str = "") -> Iterator[str]:
    """Yield the paths of a value that came out of JSON, or goes into it."""
    match value:
        case list():
            for each in value:
                yield from of_value(each, f"{at}[]")
        case dict():
            tags = [value["type"]] if isinstance(value.get("type"), str) else []
            for path, held in _object(value, tags, at):
                yield path
                yield from of_value(held, path)
