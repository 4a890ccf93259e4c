"""Conversations through the official SDK, and responses that are made in them."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.contract.conftest import Play
from tests.doubles.model_server import Turn

CI: Any = {"type": "code_interpreter", "container": {"type": "auto"}}
OUTPUTS: Any = ["code_interpreter_call.outputs"]


def hello(words: str = "Hello.") -> Any:
    return {"type": "message", "role": "user", "content": words}


def test_conversation_from_its_creation_to_its_end(client: OpenAI):
    made = client.conversations.create(items=[hello()], metadata={"topic": "demo"})

    assert client.conversations.retrieve(made.id) == made
    changed = client.conversations.update(made.id, metadata={"topic": "other"})
    assert (changed.id, changed.metadata) == (made.id, {"topic": "other"})
    [item] = client.conversations.items.list(made.id)
    assert item.id is not None
    assert client.conversations.items.retrieve(item.id, conversation_id=made.id) == item
    assert client.conversations.items.delete(item.id, conversation_id=made.id) == changed
    assert list(client.conversations.items.list(made.id)) == []
    assert client.conversations.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError, match=f"Conversation with id '{made.id}' not found"):
        client.conversations.retrieve(made.id)


def test_the_sdk_pages_through_all_items(client: OpenAI):
    conversation = client.conversations.create()
    for start in range(0, 45, 15):
        added = client.conversations.items.create(
            conversation.id, items=[hello(str(n)) for n in range(start, start + 15)]
        )
        assert len(added.data) == 15

    for order, expected in (("asc", range(45)), ("desc", range(44, -1, -1))):
        pages: Any = client.conversations.items.list(conversation.id, order=order, limit=10)  # type: ignore[arg-type]
        assert [item.content[0].text for item in pages] == [str(n) for n in expected]


def test_code_of_a_conversation_goes_on_where_it_was(client: OpenAI, play: Play):
    conversation = client.conversations.create()
    play(Turn(code="x = 41"), Turn(text="Set."))
    first = client.responses.create(input="Set x.", conversation=conversation.id, tools=[CI])
    model = play(Turn(code="print(x + 1)"), Turn(text="42."))

    with client.responses.stream(
        model="m",
        input="And one?",
        conversation={"id": conversation.id},
        tools=[CI],
        include=OUTPUTS,
    ) as stream:
        second = stream.get_final_response()

    assert first.conversation is not None
    assert second.conversation == first.conversation
    assert first.conversation.id == conversation.id
    call = second.output[0]
    assert call.type == "code_interpreter_call"
    assert [output.to_dict() for output in call.outputs or ()] == [{"type": "logs", "logs": "42\n"}]
    assert "Set x." in str(model.requests[0]["messages"])
    pages = client.conversations.items.list(conversation.id, order="asc", include=OUTPUTS)
    items = list(pages)
    assert [item.type for item in items] == ["message", "code_interpreter_call", "message"] * 2
    assert items[4].to_dict() == call.to_dict()


def test_a_response_that_cannot_be_made_in_a_conversation_says_why(client: OpenAI):
    with pytest.raises(openai.NotFoundError, match="'conv_nope' not found"):
        client.responses.create(input="hi", conversation="conv_nope")
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(input="hi", conversation="conv_x", previous_response_id="resp_x")
    assert caught.value.code == "mutually_exclusive_parameters"
