from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanderling.models.decoding import CodeDecoder

SOURCES = [
    "print('hello')\nx = 1",
    'print("a \\"quoted\\" word", "tab\\t", "C:\\\\dir")',
    "name = 'Ænima 😀 \u2028 \x00 end'",
    "re.findall(r'\\d+', text)  # back\\slash",
    "",
]


def decode(fragments: list[str]) -> str:
    decoder = CodeDecoder()
    return "".join(decoder.feed(fragment) for fragment in fragments)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_code_is_decoded_wherever_the_json_is_split(source: str, ascii_only: bool) -> None:
    arguments = json.dumps({"code": source}, ensure_ascii=ascii_only)

    for cut in range(len(arguments) + 1):
        assert decode([arguments[:cut], arguments[cut:]]) == source
    assert decode(list(arguments)) == source


@given(
    source=st.text(st.characters(exclude_categories=["Cs"])).filter(
        lambda text: text.strip() and not text.lstrip().startswith("`")
    ),
    data=st.data(),
)
def test_any_source_survives_any_fragmentation(source: str, data: st.DataObject) -> None:
    arguments = json.dumps({"code": source})
    cuts = sorted(data.draw(st.sets(st.integers(0, len(arguments)), max_size=8)))
    edges = [0, *cuts, len(arguments)]

    fragments = [arguments[a:b] for a, b in itertools.pairwise(edges)]

    assert decode(fragments) == source


@given(st.text())
def test_no_text_whatever_breaks_the_decoder(text: str) -> None:
    assert isinstance(decode(list(text)), str)
    assert isinstance(decode(['{"code": "', *text]), str)


def test_arguments_that_nest_without_end_do_not_exhaust_the_stack() -> None:
    for opening in ('{"arguments":', '{"code":', "[", '"{\\"code\\":'):
        assert isinstance(decode([opening * 5000]), str)


def test_text_comes_as_soon_as_it_is_certain() -> None:
    decoder = CodeDecoder()

    assert decoder.feed('{"co') == ""
    assert decoder.feed('de": "prin') == "prin"
    assert decoder.feed("t(1)\\") == "t(1)"
    assert decoder.feed('n2"') == "\n2"
    assert not decoder.is_closed
    assert decoder.feed("}") == ""
    assert decoder.is_closed


@pytest.mark.parametrize("key", ["code", "input", "source", "python", "script", "query", "Code"])
def test_other_keys_models_use_are_known(key: str) -> None:
    assert decode([json.dumps({"language": {"a": ["}", 1]}, key: "1 + 1", "n": 2.5})]) == "1 + 1"


@pytest.mark.parametrize(
    "arguments",
    [
        "print(1)\nprint(2)",
        "```python\nprint(1)\nprint(2)\n```",
        "```\nprint(1)\nprint(2)\n```\n",
        '{"code": "```py\\nprint(1)\\nprint(2)\\n```"}',
        "{'code': 'print(1)\\nprint(2)'}",
        '{"code": """print(1)\nprint(2)"""}',
        '{code: "print(1)\\nprint(2)"}',
        '{"code": "print(1)\nprint(2)"}',
        json.dumps(json.dumps({"code": "print(1)\nprint(2)"})),
        json.dumps({"name": "python", "arguments": {"code": "print(1)\nprint(2)"}}),
        json.dumps({"code": "print(1)\nprint(2)"}) * 2,
    ],
)
def test_source_is_found_in_every_shape_models_send(arguments: str) -> None:
    assert decode(list(arguments)) == "print(1)\nprint(2)"
    assert decode([arguments]) == "print(1)\nprint(2)"


@pytest.mark.parametrize(
    ("escaped", "expected"),
    [
        (r"\ud83d\ude00", "😀"),
        (r"\ud83dx", "\ufffdx"),
        (r"\ud83d\n", "\ufffd\n"),
        (r"\ud83d\u0041", "\ufffdA"),
        (r"\ude00", "\ufffd"),
        (r"\d+\s", r"\d+\s"),
        (r"it\'s", "it's"),
        (r"\u00zz", r"\u00zz"),
        (r"a\/b", "a/b"),
    ],
)
def test_odd_escapes_are_read_as_meant(escaped: str, expected: str) -> None:
    assert decode(list('{"code": "' + escaped + '"}')) == expected
