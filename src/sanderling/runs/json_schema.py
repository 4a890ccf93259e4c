"""
JSON Schema as far as answers of models need it: is this one well formed, does a value satisfy it.

Checked are the keywords that structured outputs allow: types, `properties`, `required`,
`additionalProperties`, `items`, `prefixItems`, `enum`, `const`, the bounds of numbers, strings and
arrays, `anyOf`, `oneOf`, `allOf`, `not`, and references inside the schema. Not checked are
`pattern`, because a pattern out of a request can keep the server busy for ever, and `format`. Work
is bounded: of a value that takes more than STEPS_MAX steps nothing bad is said.

Source: JSON Schema, draft 2020-12; OpenAI "Structured Outputs", "Supported schemas".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Path = tuple[str, ...]

# Twice the properties that structured outputs allow; checked in 50 ms.
SCHEMAS_MAX = 10_000
# Ten times what the largest schema of structured outputs (5,000 properties) needs for one object.
STEPS_MAX = 50_000
# Values and schemas in each other; an answer is hardly deeper than 10.
DEPTH_MAX = 100
_REFERENCES_MAX = 32  # of a chain of nothing but references
_SHOWN_CHARS_MAX = 60

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "number": (int, float),
    "integer": (int, float),
}
_MAPS = ("properties", "$defs", "definitions", "patternProperties")
_SCHEMAS = ("items", "additionalProperties", "not")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems")


class _TooMuchWork(Exception):
    """Checking this value takes too long."""


# ---- is it a schema ----------------------------------------------------------------------------


def schema_problem(schema: dict[str, Any]) -> str | None:
    """Return what is wrong with the schema, beginning with where, or None."""
    kind = _resolved(schema, schema)
    if kind.get("type") != "object":
        return f"the schema must be of type 'object' at its top, not {_shown(kind.get('type'))}"
    for number, (path, each) in enumerate(_subschemas(schema, ())):
        if number == SCHEMAS_MAX:
            return f"the schema has more than {SCHEMAS_MAX:,} schemas in it"
        problem = _own_problem(each, schema)
        if problem is not None:
            return f"In context=({', '.join(map(repr, path))}), {problem}" if path else problem
    return None


def _subschemas(schema: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    yield path, schema
    if not isinstance(schema, dict):
        return
    for key in _MAPS:
        if isinstance(below := schema.get(key), dict):
            for name, each in below.items():
                yield from _subschemas(each, (*path, key, name))
    for key in _SCHEMAS:
        if key in schema:
            yield from _subschemas(schema[key], (*path, key))
    for key in _LISTS:
        if isinstance(below := schema.get(key), list):
            for index, each in enumerate(below):
                yield from _subschemas(each, (*path, key, str(index)))


def _own_problem(schema: Any, root: dict[str, Any]) -> str | None:
    """Return what is wrong with this schema, those below it left out."""
    if isinstance(schema, bool):
        return None
    if not isinstance(schema, dict):
        return f"{_shown(schema)} is no schema: a schema is an object or a boolean"
    if (problem := _type_problem(schema.get("type"))) is not None:
        return problem
    for key in _MAPS:
        if key in schema and not isinstance(schema[key], dict):
            return f"{key!r} must be an object"
    for key in (*_LISTS, "enum"):
        if key in schema and not (isinstance(schema[key], list) and schema[key]):
            return f"{key!r} must be an array that is not empty"
    required = schema.get("required", [])
    if not (isinstance(required, list) and all(isinstance(name, str) for name in required)):
        return "'required' must be an array of strings"
    for key in _NUMBERS:
        if key in schema and not _is_number(schema[key]):
            return f"{key!r} must be a number"
    if _is_number(schema.get("multipleOf")) and schema["multipleOf"] <= 0:
        return "'multipleOf' must be above 0"
    for key in _COUNTS:
        if key in schema and not (type(schema[key]) is int and schema[key] >= 0):
            return f"{key!r} must be an integer from 0 up"
    return _reference_problem(schema, root)


def _type_problem(given: Any) -> str | None:
    names = given if isinstance(given, list) else [given]
    if given is None:
        return None
    for name in names:
        if not isinstance(name, str) or name not in _TYPES:
            return f"{_shown(name)} is no type; types are {', '.join(map(repr, _TYPES))}"
    return None if names else "'type' names no type"


def _reference_problem(schema: dict[str, Any], root: dict[str, Any]) -> str | None:
    if "$ref" not in schema:
        return None
    reference = schema["$ref"]
    try:
        _target(reference, root)
        _resolved(schema, root)
    except LookupError:
        return f"the reference {_shown(reference)} leads to nothing inside the schema"
    except _TooMuchWork:
        return f"the reference {_shown(reference)} leads back to itself"
    return None


def _target(reference: Any, root: dict[str, Any]) -> Any:
    """Return what a reference such as `#/$defs/step` leads to. Raises LookupError."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        raise LookupError(reference)
    found: Any = root
    for part in reference[1:].split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and name.isascii() and name.isdecimal():
            found = found[int(name[:9])]
        elif isinstance(found, dict) and name in found:
            found = found[name]
        else:
            raise LookupError(reference)
    return found


def _resolved(schema: dict[str, Any], root: dict[str, Any]) -> Mapping[str, Any]:
    """Return the schema that a chain of references ends with. Raises LookupError, _TooMuchWork."""
    for _ in range(_REFERENCES_MAX):
        if "$ref" not in schema:
            return schema
        found = _target(schema["$ref"], root)
        if not isinstance(found, dict):
            return {}
        schema = found
    raise _TooMuchWork


# ---- does a value satisfy it -------------------------------------------------------------------


def mismatch(value: Any, schema: dict[str, Any]) -> str | None:
    """Return in what way `value`, out of JSON, does not satisfy a well-formed schema, or None."""
    try:
        return _Check(schema).problem(value, schema, "$", 0)
    except _TooMuchWork:
        return None


class _Check:
    """The checking of one value against one schema."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._steps = 0

    def problem(self, value: Any, schema: Any, path: str, depth: int) -> str | None:
        """Return what is wrong with the value at `path`, or None."""
        self._steps += 1
        if self._steps > STEPS_MAX or depth > DEPTH_MAX:
            raise _TooMuchWork
        if isinstance(schema, bool):
            return None if schema else f"{path} may not be there"
        return (
            _own_mismatch(value, schema, path)
            or self._referred(value, schema, path, depth)
            or self._combined(value, schema, path, depth)
            or self._below(value, schema, path, depth)
        )

    def _referred(self, value: Any, schema: Any, path: str, depth: int) -> str | None:
        if "$ref" not in schema:
            return None
        return self.problem(value, _target(schema["$ref"], self._root), path, depth + 1)

    def _combined(self, value: Any, schema: Any, path: str, depth: int) -> str | None:
        for each in schema.get("allOf", ()):
            if (problem := self.problem(value, each, path, depth + 1)) is not None:
                return problem
        if "not" in schema and self.problem(value, schema["not"], path, depth + 1) is None:
            return f"{path} is what it must not be"
        for key in ("anyOf", "oneOf"):
            if key not in schema:
                continue
            problems = [self.problem(value, each, path, depth + 1) for each in schema[key]]
            matching = problems.count(None)
            if not matching:
                return problems[0] if len(problems) == 1 else f"{path} has none of its forms"
            if key == "oneOf" and matching > 1:
                return f"{path} has more than one of its forms"
        return None

    def _below(self, value: Any, schema: Any, path: str, depth: int) -> str | None:
        for schema_of_part, part, place in _parts(value, schema, path):
            problem = self.problem(part, schema_of_part, place, depth + 1)
            if problem is not None:
                return problem
        return None


def _parts(value: Any, schema: Any, path: str) -> Iterator[tuple[Any, Any, str]]:
    """Yield the schema, the value and the path of everything in an object or an array."""
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        rest = schema.get("additionalProperties", True)
        if schema.get("patternProperties"):  # what a pattern may allow is not said to be wrong
            rest = True
        for name, each in value.items():
            yield properties.get(name, rest), each, f"{path}.{name}"
    elif isinstance(value, list):
        first = schema.get("prefixItems", [])
        rest = schema.get("items", True)
        for index, each in enumerate(value):
            yield first[index] if index < len(first) else rest, each, f"{path}[{index}]"


def _own_mismatch(value: Any, schema: dict[str, Any], path: str) -> str | None:
    """Return what is wrong with the value itself, its parts left out."""
    allowed = schema.get("type", list(_TYPES))
    names = allowed if isinstance(allowed, list) else [allowed]
    if not any(_is_of(value, name) for name in names):
        return f"{path} is {_shown(value)}, not of type {' or '.join(names)}"
    if "const" in schema and not _is_same(value, schema["const"]):
        return f"{path} is {_shown(value)}, not {_shown(schema['const'])}"
    if "enum" in schema and not any(_is_same(value, each) for each in schema["enum"]):
        return f"{path} is {_shown(value)}, none of the values it may have"
    if isinstance(value, dict):
        absent = [name for name in schema.get("required", ()) if name not in value]
        return f"{path}.{absent[0]} is missing" if absent else None
    return _out_of_bounds(value, schema, path)


def _out_of_bounds(value: Any, schema: dict[str, Any], path: str) -> str | None:
    bounds: dict[str, Callable[[Any], bool]] = {}
    if _is_number(value):
        bounds = {
            "minimum": lambda bound: value < bound,
            "maximum": lambda bound: value > bound,
            "exclusiveMinimum": lambda bound: value <= bound,
            "exclusiveMaximum": lambda bound: value >= bound,
            "multipleOf": lambda bound: _rest(value, bound) != 0,
        }
    elif isinstance(value, str | list):
        noun = "Length" if isinstance(value, str) else "Items"
        bounds = {
            f"min{noun}": lambda bound: len(value) < bound,
            f"max{noun}": lambda bound: len(value) > bound,
        }
    for key, is_wrong in bounds.items():
        if key in schema and is_wrong(schema[key]):
            return f"{path} is {_shown(value)}, against {key} {schema[key]}"
    return None


def _rest(value: float, of: float) -> float:
    """Return what is over when `value` is divided; binary fractions are forgiven their last bit."""
    try:
        quotient = value / of
        return 0 if abs(quotient - round(quotient)) < 1e-9 else 1
    except OverflowError:
        return 0


def _is_of(value: Any, name: str) -> bool:
    if name in ("number", "integer") and isinstance(value, bool):
        return False
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[name])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_same(value: Any, other: Any) -> bool:
    # To Python True is 1, to JSON it is not.
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS_MAX else text[: _SHOWN_CHARS_MAX - 1] + "…"
