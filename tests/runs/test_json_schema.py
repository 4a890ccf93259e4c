from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanderling.runs.json_schema import mismatch, schema_problem

STEP: dict[str, Any] = {
    "type": "object",
    "properties": {"next": {"anyOf": [{"$ref": "#/$defs/step"}, {"type": "null"}]}},
    "required": ["next"],
    "additionalProperties": False,
}
CHAIN: dict[str, Any] = {"$ref": "#/$defs/step", "$defs": {"step": STEP}}


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


@pytest.mark.parametrize(
    ("schema", "value", "problem"),
    [
        (of(a={"type": "integer"}), {"a": 1}, None),
        (of(a={"type": "integer"}), {"a": 1.0}, None),
        (of(a={"type": "integer"}), {"a": 1.5}, "$.a is 1.5, not of type integer"),
        (of(a={"type": "integer"}), {"a": True}, "$.a is True, not of type integer"),
        (of(a={"type": "number"}), {"a": "1"}, "$.a is '1', not of type number"),
        (of(a={"type": ["string", "null"]}), {"a": None}, None),
        (of(a={"type": ["string", "null"]}), {"a": 0}, "$.a is 0, not of type string or null"),
        (of(a={}), {}, "$.a is missing"),
        (of(a={}), [], "$ is [], not of type object"),
        ({**of(), "additionalProperties": False}, {"b": 1}, "$.b may not be there"),
        (
            {**of(), "additionalProperties": {"type": "string"}},
            {"b": 1},
            "$.b is 1, not of type st",
        ),
        ({**of(), "patternProperties": {"b": {}}, "additionalProperties": False}, {"b": 1}, None),
        (of(a={"enum": ["x", "y"]}), {"a": "z"}, "$.a is 'z', none of the values it may have"),
        (of(a={"enum": [1]}), {"a": True}, "$.a is True, none"),
        (of(a={"const": 5}), {"a": 6}, "$.a is 6, not 5"),
        (of(a={"type": "array", "items": {"type": "string"}}), {"a": ["x", 1]}, "$.a[1] is 1, not"),
        (of(a={"prefixItems": [{"type": "null"}], "items": False}), {"a": [None]}, None),
        (of(a={"prefixItems": [{"type": "null"}], "items": False}), {"a": [None, 1]}, "$.a[1] may"),
        (of(a={"minItems": 1}), {"a": []}, "$.a is [], against minItems 1"),
        (of(a={"maxItems": 1}), {"a": [1, 2]}, "$.a is [1, 2], against maxItems 1"),
        (of(a={"minLength": 2}), {"a": "x"}, "$.a is 'x', against minLength 2"),
        (of(a={"maxLength": 2}), {"a": "xyz"}, "against maxLength 2"),
        (of(a={"minimum": 2}), {"a": 1}, "$.a is 1, against minimum 2"),
        (of(a={"maximum": 2}), {"a": 2}, None),
        (of(a={"exclusiveMinimum": 2}), {"a": 2}, "against exclusiveMinimum 2"),
        (of(a={"exclusiveMaximum": 2}), {"a": 2}, "against exclusiveMaximum 2"),
        (of(a={"multipleOf": 0.1}), {"a": 0.3}, None),
        (of(a={"multipleOf": 2}), {"a": 3}, "against multipleOf 2"),
        (of(a={"pattern": "^(a+)+$"}), {"a": "a" * 60 + "b"}, None),
        (of(a={"allOf": [{"minimum": 1}, {"maximum": 3}]}), {"a": 4}, "against maximum 3"),
        (of(a={"anyOf": [{"type": "null"}, {"type": "array"}]}), {"a": 4}, "$.a has none of its f"),
        (of(a={"oneOf": [{"minimum": 1}, {"minimum": 2}]}), {"a": 3}, "$.a has more than one"),
        (of(a={"not": {"type": "null"}}), {"a": None}, "$.a is what it must not be"),
        (CHAIN, {"next": {"next": None}}, None),
        (CHAIN, {"next": {"next": {}}}, "$.next has none of its forms"),
    ],
)
def test_value_is_held_against_the_schema(schema: dict[str, Any], value: Any, problem: str | None):
    assert schema_problem(schema) is None

    found = mismatch(value, schema)

    if problem is None:
        assert found is None
    else:
        assert problem in (found or "")


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({}, "the schema must be of type 'object' at its top, not None"),
        ({"type": "array"}, "the schema must be of type 'object' at its top, not 'array'"),
        (of(a={"type": "strng"}), "In context=('properties', 'a'), 'strng' is no type; types are"),
        (of(a={"type": []}), "'type' names no type"),
        (of(a=5), "5 is no schema: a schema is an object or a boolean"),
        ({"type": "object", "properties": []}, "'properties' must be an object"),
        ({"type": "object", "required": "a"}, "'required' must be an array of strings"),
        (of(a={"enum": []}), "'enum' must be an array that is not empty"),
        (of(a={"anyOf": [{"type": 5}]}), "In context=('properties', 'a', 'anyOf', '0'), 5 is no"),
        (of(a={"minimum": "1"}), "'minimum' must be a number"),
        (of(a={"multipleOf": 0}), "'multipleOf' must be above 0"),
        (of(a={"minItems": -1}), "'minItems' must be an integer from 0 up"),
        (of(a={"items": []}), "[] is no schema"),
        (of(a={"$ref": "#/$defs/b"}), "the reference '#/$defs/b' leads to nothing inside"),
        (of(a={"$ref": "https://json-schema.org/x"}), "leads to nothing inside the schema"),
        (of(a={"$ref": 5}), "the reference 5 leads to nothing"),
        (of(a={"$ref": "#/properties/a"}), "leads back to itself"),
        (of(**{f"p{n}": {} for n in range(10_000)}), "has more than 10,000 schemas in it"),
    ],
)
def test_schema_that_is_none_is_said_to_be_none(schema: dict[str, Any], problem: str):
    assert problem in (schema_problem(schema) or "")


def test_checking_takes_bounded_work():
    each = {"$ref": "#/$defs/all"}
    schema = {**of(a=each), "$defs": {"all": {"allOf": [each, each, each]}}}

    assert schema_problem(schema) is None
    assert mismatch({"a": 1}, schema) is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES, st.dictionaries(st.text(), VALUES), st.dictionaries(st.text(), VALUES))
def test_whatever_comes_the_answer_is_a_sentence_or_nothing(
    value: Any, properties: dict[str, Any], more: dict[str, Any]
):
    schema = {**more, "type": "object", "properties": properties}

    problem = schema_problem(schema)

    assert problem is None or isinstance(problem, str)
    if problem is None:
        assert isinstance(mismatch(value, schema), str | None)
