from __future__ import annotations

import dataclasses
import json
import types
import typing
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sanderling.errors import SanderlingError
from sanderling.records import (
    AutoContainer,
    CodeCallItem,
    CodeTool,
    ImageOutput,
    Item,
    LogsOutput,
    MessageItem,
    Output,
    Part,
    Run,
    TextPart,
)
from sanderling.store.codec import Codec

FINITE = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Return every value of a record's annotation: also those that a default would hide."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return st.builds(
            kind, **{f.name: values_of(hints[f.name]) for f in dataclasses.fields(kind)}
        )
    if origin in (typing.Union, types.UnionType):
        return st.one_of([values_of(argument) for argument in arguments])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        return st.lists(values_of(arguments[0]), max_size=2).map(tuple)
    if origin is dict:
        values = JSON if arguments[1] is Any else values_of(arguments[1])
        return st.dictionaries(st.text(), values, max_size=3)
    return {
        str: st.text(),
        int: st.integers(),
        float: FINITE,
        bool: st.booleans(),
        types.NoneType: st.none(),
    }[kind]


def through_json(codec: Codec[Any], value: Any) -> Any:
    return codec.loads(json.loads(json.dumps(codec.dumps(value), allow_nan=False)))


@pytest.mark.parametrize("kind", [Item, Part, Output, Run], ids=["Item", "Part", "Output", "Run"])
def test_any_record_comes_back_exactly(kind):
    codec = Codec[Any](kind)

    @given(values_of(kind))
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def check(value):
        back = through_json(codec, value)

        assert back == value
        assert type(back) is type(value)

    check()


def test_tuples_come_back_as_tuples_and_union_members_as_their_class():
    call = CodeCallItem(
        id="ci_1",
        call_id="call_1",
        code="1",
        container_id="cntr_1",
        status="completed",
        outputs=(LogsOutput("stdout", "hi"), ImageOutput("data:,", "cfile_1", "/mnt/data/a.png")),
    )

    back = through_json(Codec[Item](Item), call)

    assert isinstance(back.outputs, tuple)
    assert [type(output) for output in back.outputs] == [LogsOutput, ImageOutput]


@pytest.mark.parametrize("container", ["auto", "cntr_1", AutoContainer(), AutoContainer(("f",))])
def test_a_tool_keeps_whether_its_container_is_an_id_or_made_for_it(container):
    assert through_json(Codec[CodeTool](CodeTool), CodeTool(container)) == CodeTool(container)


def test_integers_larger_than_a_machine_word_survive():
    @dataclass(frozen=True)
    class Holder:
        value: dict[str, Any]

    holder = Holder({"maximum": 2**80})

    assert through_json(Codec[Any](Holder), holder) == holder


def test_a_picture_of_megabytes_survives():
    image = ImageOutput("data:image/png;base64," + "A" * (8 << 20), "cfile_1", "/mnt/data/a.png")

    assert through_json(Codec[Output](Output), image) == image


@pytest.mark.parametrize(
    ("written", "read"),
    [("half \ud83d only", "half \ufffd only"), ("\ud83d\ude00", "😀"), ("é😀\0", "é😀\0")],
)
def test_text_becomes_whole_unicode(written, read):
    message = MessageItem("msg_1", "user", (TextPart(written),))

    assert through_json(Codec[Item](Item), message).parts[0].text == read


@pytest.mark.parametrize(
    "data",
    [{}, {"type": "message"}, {"type": "unheard_of", "id": "x"}, {"id": 1, "type": "reasoning"}],
)
def test_a_value_that_is_no_record_is_refused_and_not_guessed(data):
    with pytest.raises(SanderlingError, match="cannot be read"):
        Codec[Item](Item).loads(data)


def test_the_refusal_does_not_show_the_stored_text():
    data = {"type": "reasoning", "id": 1, "text": "a secret"}

    with pytest.raises(SanderlingError) as caught:
        Codec[Item](Item).loads(data)

    assert "a secret" not in caught.value.message
