from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanderling.models.arguments import describe_problem, interpret_code, interpret_function

CODE = "text = 'a\"b'\nprint(text, 1)"


@pytest.mark.parametrize(
    "arguments",
    [
        json.dumps({"code": CODE}),
        json.dumps({"code": CODE}) * 2,
        json.dumps({"code": CODE}) + "\n" + json.dumps({"code": CODE}),
        "{}" + json.dumps({"code": CODE}),
        json.dumps(json.dumps({"code": CODE})),
        json.dumps(CODE),
        repr({"code": CODE}),
        CODE,
        f"```python\n{CODE}\n```",
        f"Here is the code:\n```python\n{CODE}\n```",
        json.dumps({"code": f"```python\n{CODE}\n```"}),
        json.dumps({"input": CODE}),
        json.dumps({"cmd": CODE}),
        json.dumps({"code": CODE.split("\n")}),
        json.dumps({"name": "python", "parameters": {"code": CODE}}),
        '{"code": "' + CODE.replace('"', '\\"') + '"}',
        json.dumps({"code": CODE.replace("\n", "\\n")}),
    ],
)
def test_code_is_understood_in_every_shape_models_send(arguments: str) -> None:
    assert interpret_code(arguments) == CODE


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ('{"code": "print("hello")"}', 'print("hello")'),
        (r'{"code": "re.sub(\"\d+\", \"\", s)"}', r're.sub("\d+", "", s)'),
        (r'{"code": "import re; re.findall(r\'\d\', s)"}', r"import re; re.findall(r'\d', s)"),
        ("{1, 2}", "{1, 2}"),
        ("[1, 2]", "[1, 2]"),
        ("%matplotlib inline\nx = 1", "%matplotlib inline\nx = 1"),
        ("x = await fetch()", "x = await fetch()"),
        ('{"code": "a = 1"}{"code": "b = 2"}', "a = 1\nb = 2"),
        ('{"code": "print(\'\\ud800\')"}', "print('\ufffd')"),
        # Valid arguments whose source is not valid Python: that error belongs to the cell.
        ('{"code": "print(1"}', "print(1"),
    ],
)
def test_what_was_meant_is_run(arguments: str, code: str) -> None:
    assert interpret_code(arguments) == code


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "   ",
        "{}",
        "null",
        '{"code": ""}',
        '{"code": 7}',
        '{"code": "print(1)',
        "just some words",
    ],
)
def test_where_nothing_can_be_understood_nothing_is_run(arguments: str) -> None:
    assert interpret_code(arguments) is None
    assert '{"code": "…"}' in describe_problem(arguments)


@given(st.text(st.characters(exclude_categories=["Cs"])).filter(lambda t: t.strip()))
def test_clean_json_of_any_source_comes_back_or_is_a_block_without_its_fence(source: str) -> None:
    understood = interpret_code(json.dumps({"code": source}))

    assert understood is not None or "```" in source
    if "```" not in source and "\\n" not in source:
        assert understood == source


def test_arguments_that_nest_without_end_are_not_followed() -> None:
    for opening in ('{"arguments":', "[", '{"code":', "("):
        deep = opening * 5000
        assert interpret_code(deep) is None
        assert interpret_function(deep) is None
    nested = '{"args": ' * 400 + '{"code": "1"}' + "}" * 400
    assert interpret_code(nested) is None


@given(st.text())
def test_no_arguments_whatever_break_the_interpretation(text: str) -> None:
    interpret_code(text)
    interpret_function(text)
    assert describe_problem(text)


@pytest.mark.parametrize(
    "arguments",
    [
        '{"city": "Oslo", "days": 3}',
        '{"city": "Oslo", "days": 3}{"city": "Oslo", "days": 3}',
        "{'city': 'Oslo', 'days': 3}",
        json.dumps('{"city": "Oslo", "days": 3}'),
        '```json\n{"city": "Oslo", "days": 3}\n```',
    ],
)
def test_function_arguments_become_clean_json(arguments: str) -> None:
    clean = interpret_function(arguments)

    assert clean is not None
    assert json.loads(clean) == {"city": "Oslo", "days": 3}


@pytest.mark.parametrize("arguments", ["", "[1]", "7", '{"city": ', "Oslo"])
def test_function_arguments_that_are_no_object_are_refused(arguments: str) -> None:
    assert interpret_function(arguments) is None
