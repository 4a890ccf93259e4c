"""
Checked values out of JSON, or one clear error that names the parameter.

Request models are pydantic's, strict, and ignore what they do not know, so that newer SDKs keep
working. A union is decided by looking at one thing, the JSON type or the `type` field, before
anything else is checked: a client then reads what is wrong with the thing it meant, not what is
wrong with every thing it might have meant. Only the first error is told.

Source: the wording and codes are those OpenAI's API answers with; clients match on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from sanderling.errors import InvalidRequest

_Model = TypeVar("_Model", bound=BaseModel)

# Longest piece of a client's own value that is repeated to it.
_SHOWN_CHARS_MAX = 100
_JSON_NAMES: dict[type, str] = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal number",
    list: "an array",
    dict: "an object",
    type(None): "null",
}
_EXPECTED = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "bool_type": "a boolean",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}

# An extension: OpenAI's containers have one set of packages. What there is decides the operator.
EnvironmentName = Annotated[str, Field(min_length=1, max_length=64)]


class RequestModel(BaseModel):
    """Base of every request body and of every object in one."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


def check(model: type[_Model], value: Any) -> _Model:
    """
    Return `value`, which came out of JSON, as a `model`.

    Raises:
        InvalidRequest: the first thing wrong with it.
    """
    if not isinstance(value, dict):
        raise InvalidRequest(
            f"Invalid type for the request body: expected an object, but got {json_name(value)} "
            "instead.",
            code="invalid_type",
        )
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _translate(error.errors(include_url=False)[0]) from error


def json_name(value: Any) -> str:
    """Return what JSON calls the type of `value`, with its article."""
    return _JSON_NAMES.get(type(value), "an unknown value")


def quoted(values: tuple[str, ...] | list[str]) -> str:
    """Return `'a', 'b', and 'c'`."""
    words = [f"'{value}'" for value in values]
    if len(words) < 3:
        return " and ".join(words)
    return ", ".join(words[:-1]) + ", and " + words[-1]


def invalid_type(param: str, expected: str, value: Any) -> InvalidRequest:
    """Return the error for a value of the wrong JSON type."""
    return InvalidRequest(
        f"Invalid type for '{param}': expected {expected}, but got {json_name(value)} instead.",
        param=param,
        code="invalid_type",
    )


def missing(param: str) -> InvalidRequest:
    """Return the error for a parameter that must be there and is not."""
    return InvalidRequest(
        f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter"
    )


def invalid_value(param: str, value: str, supported: tuple[str, ...] | list[str]) -> InvalidRequest:
    """Return the error for a string that is none of `supported`."""
    return InvalidRequest(
        f"Invalid value: '{_shown(value)}'. Supported values are: {quoted(supported)}.",
        param=param,
        code="invalid_value",
    )


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN_CHARS_MAX else text[: _SHOWN_CHARS_MAX - 1] + "…"


# ---- unions ------------------------------------------------------------------------------------


class ByJsonType:
    """A validator for a union whose members differ in JSON type; `openapi.py` reads `adapters`."""

    def __init__(self, expected: str, choices: Mapping[type, Any]) -> None:
        self.adapters = {kind: TypeAdapter(choice) for kind, choice in choices.items()}
        self._expected = expected

    def __call__(self, value: Any) -> Any:
        adapter = self.adapters.get(type(value))
        if adapter is None:
            raise _refusal("invalid_type", expected=self._expected)
        return adapter.validate_python(value, strict=True)


def by_json_type(expected: str, choices: Mapping[type, Any]) -> ByJsonType:
    """
    Return a validator for a union whose members differ in JSON type.

    expected: what a client should have sent, for the error. choices: JSON type -> pydantic type.
    """
    return ByJsonType(expected, choices)


class ByTypeField:
    """A validator for a union of objects told apart by a field; `openapi.py` reads what it is."""

    def __init__(
        self,
        choices: Mapping[str, type[RequestModel]],
        default: Callable[[dict[str, Any]], str | None] | None,
        known: frozenset[str],
        field: str,
    ) -> None:
        self.choices = choices
        self.default = default
        self.field = field
        self._known = known

    def __call__(self, value: Any) -> Any:
        if not isinstance(value, dict):
            raise _refusal("invalid_type", expected="an object")
        kind = value.get(self.field)
        if kind is None and self.default is not None:
            kind = self.default(value)
        if kind is None:
            raise _refusal("missing", at=self.field)
        if not isinstance(kind, str):
            raise _refusal("invalid_type", expected="a string", at=self.field, value=kind)
        if kind in self._known:
            raise refuse(
                f"Invalid value: '{kind}' is not supported by this server. "
                f"Supported values are: {quoted(list(self.choices))}.",
                at=self.field,
            )
        if kind not in self.choices:
            raise _refusal(
                "invalid_value", supported=tuple(self.choices), at=self.field, value=kind
            )
        return self.choices[kind].model_validate(value)


def by_type_field(
    choices: Mapping[str, type[RequestModel]],
    *,
    default: Callable[[dict[str, Any]], str | None] | None = None,
    known: frozenset[str] = frozenset(),
    field: str = "type",
) -> ByTypeField:
    """
    Return a validator for a union of objects whose `type` says which it is.

    default: what `type` stands for when it is absent or null; None when it must be there.
    known: types that exist elsewhere and that this server refuses; the error says so.
    field: the name of the field that says it, where it is another one.
    """
    return ByTypeField(choices, default, known, field)


_UNSET = object()


def _refusal(
    kind: str,
    *,
    expected: str = "",
    supported: tuple[str, ...] = (),
    at: str | None = None,
    value: Any = _UNSET,
) -> PydanticCustomError:
    """Return an error for `_translate`; `at` is the key below the value where it is."""
    context = {"expected": expected, "supported": supported, "at": at}
    if value is not _UNSET:
        context["value"] = value
    return PydanticCustomError("sanderling_" + kind, "{expected}", context)


def refuse(message: str, *, code: str = "invalid_value", at: str | None = None) -> Exception:
    """Return an error for validators of models to raise; `at` is a key below the value."""
    return PydanticCustomError(
        "sanderling_refused", "{message}", {"message": message, "code": code, "at": at}
    )


# ---- pydantic's errors in OpenAI's words -------------------------------------------------------


def _param(location: tuple[int | str, ...], at: str | None) -> str:
    text = ""
    for part in (*location, *((at,) if at else ())):
        if part == "[key]":
            continue
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _translate(error: ErrorDetails) -> InvalidRequest:
    kind, value = error["type"], error["input"]
    context = error.get("ctx", {})
    value = context.get("value", value)
    param = _param(error["loc"], context.get("at"))
    if kind.startswith("sanderling_"):
        return _translate_own(kind, param, value, context)
    if kind == "missing":
        return missing(param)
    if kind in _EXPECTED:
        return invalid_type(param, _EXPECTED[kind], value)
    if kind == "literal_error":
        supported = [word.strip("'") for word in _literals(context["expected"])]
        if not isinstance(value, str):
            return invalid_type(param, f"one of {quoted(supported)}", value)
        return invalid_value(param, value, supported)
    return _out_of_bounds(kind, param, value, context)


def _literals(expected: str) -> list[str]:
    """Read back pydantic's `'a', 'b' or 'c'`."""
    return expected.replace(" or ", ", ").split(", ")


def _translate_own(kind: str, param: str, value: Any, context: Mapping[str, Any]) -> InvalidRequest:
    match kind.removeprefix("sanderling_"):
        case "missing":
            return missing(param)
        case "invalid_type":
            return invalid_type(param, context["expected"], value)
        case "invalid_value":
            return invalid_value(param, value, context["supported"])
        case _:
            return InvalidRequest(context["message"], param=param, code=context["code"])


def _out_of_bounds(kind: str, param: str, value: Any, context: Mapping[str, Any]) -> InvalidRequest:
    match kind:
        case "greater_than_equal" | "greater_than" | "less_than_equal":
            name, sign = {
                "greater_than_equal": ("ge", ">="),
                "greater_than": ("gt", ">"),
                "less_than_equal": ("le", "<="),
            }[kind]
            bound = context[name]
            number = "decimal" if isinstance(bound, float) else "integer"
            side = "above maximum" if name == "le" else "below minimum"
            why = f"{number} {side} value. Expected a value {sign} {bound:g}"
            code = f"{number}_{side.replace('imum', '').replace(' ', '_')}_value"
            got = _shown(value)
        case "string_too_long":
            why = f"string too long. Expected a string with maximum length {context['max_length']}"
            code, got = "string_above_max_length", f"a string with length {len(value)}"
        case "string_too_short":
            why = f"string too short. Expected a string with minimum length {context['min_length']}"
            code, got = "string_below_min_length", f"a string with length {len(value)}"
        case "too_long":
            noun, unit, code = (
                ("object", "properties", "object_above_max_properties")
                if isinstance(value, dict)
                else ("array", "items", "array_above_max_length")
            )
            why = f"{noun} too long. Expected at most {context['max_length']} {unit}"
            got = str(len(value))
        case "too_short" if isinstance(value, list) and context["min_length"] == 1:
            return InvalidRequest(
                f"Invalid '{param}': empty array. Expected an array with minimum length 1, but got "
                "an empty array instead.",
                param=param,
                code="empty_array",
            )
        case "string_pattern_mismatch":
            return InvalidRequest(
                f"Invalid '{param}': string does not match pattern. Expected a string that "
                f"matches the pattern '{context['pattern']}'.",
                param=param,
                code="invalid_value",
            )
        case _:
            return InvalidRequest(f"Invalid '{param}'.", param=param, code="invalid_value")
    return InvalidRequest(
        f"Invalid '{param}': {why}, but got {got} instead.", param=param, code=code
    )
