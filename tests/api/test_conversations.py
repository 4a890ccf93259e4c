"""Conversations in process: the official shapes, the scripted model, the real run loop."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from openai.types.conversations import (
    Conversation,
    ConversationDeletedResource,
    ConversationItemList,
)
from openai.types.responses import Response

from sanderling.errors import ModelRefused
from sanderling.models.base import ModelEvent, TextDelta, TurnFinished, TurnRequest
from sanderling.models.scripted import ScriptedModel, code, error, function, text
from sanderling.records import Usage
from tests.api.making import Api, memory_api
from tests.api.test_auth import add_key, bearer

CI = {"type": "code_interpreter", "container": {"type": "auto"}}
LOOK_UP = {"type": "function", "name": "look_up", "parameters": {"type": "object"}}
OUTPUTS = "code_interpreter_call.outputs"
PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n..").decode()
LOCKED = {
    "message": "Another process is currently operating on this conversation. "
    "Please retry in a few seconds.",
    "type": "invalid_request_error",
    "param": "conversation",
    "code": "conversation_locked",
}
EXCLUSIVE = (
    "Mutually exclusive parameters: ''. Ensure you are only providing one of: "
    "'pre..._id' or 'conversation'."
)


def said(role: str, words: str, **more: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": words, **more}


async def conversation(api: Api, **body: Any) -> str:
    made = await api.json("POST", "/v1/conversations", body)
    Conversation.model_validate(made, strict=True)
    return str(made["id"])


async def respond(api: Api, conversation_id: str, input: Any = "hi", **body: Any) -> Any:
    response = await api.json(
        "POST", "/v1/responses", {"input": input, "conversation": conversation_id, **body}
    )
    Response.model_validate(response, strict=False)
    return response


async def items(api: Api, conversation_id: str, query: str = "order=asc&limit=100") -> Any:
    listing = await api.json("GET", f"/v1/conversations/{conversation_id}/items?{query}")
    if listing["data"]:
        ConversationItemList.model_validate(listing, strict=True)
    return listing


async def texts(api: Api, conversation_id: str) -> list[str]:
    """What is in the conversation, a word for each item."""
    listing = await items(api, conversation_id)
    return [
        item["content"][0]["text"] if item["type"] == "message" else item["type"]
        for item in listing["data"]
    ]


def asked(api: Api) -> str:
    """The messages of the last turn that the model was asked for."""
    model = api.services.model
    assert isinstance(model, ScriptedModel)
    return str(model.requests[-1].messages)


class Held:
    """A model that begins to answer, and ends when it is let."""

    def __init__(self) -> None:
        self.is_asked = asyncio.Event()
        self.may_end = asyncio.Event()

    async def stream(self, request: TurnRequest) -> AsyncIterator[ModelEvent]:
        yield TextDelta("Done.")
        self.is_asked.set()
        await self.may_end.wait()
        yield TurnFinished("stop", Usage(1, 1), "held")

    async def names(self) -> list[str]:
        return ["held"]

    async def aclose(self) -> None:
        return


# ---- conversations -----------------------------------------------------------------------------


async def test_conversation_is_made_shown_changed_and_deleted(api: Api):
    made = await api.json("POST", "/v1/conversations", {"metadata": {"topic": "demo"}})
    path = f"/v1/conversations/{made['id']}"

    assert set(made) == {"id", "object", "created_at", "metadata"}
    assert (made["object"], made["metadata"]) == ("conversation", {"topic": "demo"})
    assert await api.json("GET", path) == made
    changed = await api.json("POST", path, {"metadata": {"who": "me"}})
    assert changed == {**made, "metadata": {"who": "me"}}
    assert await api.json("GET", path) == changed
    assert (await api.json("POST", path, {"metadata": None}))["metadata"] == {}
    gone = await api.json("DELETE", path)
    ConversationDeletedResource.model_validate(gone, strict=True)
    assert gone == {"id": made["id"], "object": "conversation.deleted", "deleted": True}
    for method in ("GET", "DELETE"):
        status, wrong = await api.error(method, path)
        assert (status, wrong["message"]) == (
            404,
            f"Conversation with id '{made['id']}' not found.",
        )


async def test_items_are_listed_by_pages_in_both_directions(api: Api):
    first = [said("user", f"{n}") for n in range(3)]
    conversation_id = await conversation(api, items=first)
    path = f"/v1/conversations/{conversation_id}/items"
    added = await api.json("POST", path, {"items": [said("assistant", "3"), said("user", "4")]})

    ConversationItemList.model_validate(added, strict=True)
    assert [item["content"][0]["text"] for item in added["data"]] == ["3", "4"]
    assert (added["first_id"], added["last_id"]) == tuple(item["id"] for item in added["data"])
    for order, expected in (("asc", "01234"), ("desc", "43210")):
        seen, query = "", f"limit=2&order={order}"
        while True:
            listing = await items(api, conversation_id, query)
            seen += "".join(item["content"][0]["text"] for item in listing["data"])
            if not listing["has_more"]:
                break
            query = f"limit=2&order={order}&after={listing['last_id']}"
        assert seen == expected
    newest = (await items(api, conversation_id, ""))["data"][0]
    assert newest["content"] == [{"type": "input_text", "text": "4"}]
    assert await api.json("GET", f"{path}/{newest['id']}") == newest


async def test_deleted_item_is_gone_and_its_place_is_not_used_again(api: Api):
    conversation_id = await conversation(api, items=[said("user", "a"), said("user", "b")])
    path = f"/v1/conversations/{conversation_id}"
    last = (await items(api, conversation_id))["last_id"]

    assert await api.json("DELETE", f"{path}/items/{last}") == await api.json("GET", path)

    status, wrong = await api.error("GET", f"{path}/items/{last}")
    assert (status, wrong["param"]) == (404, None)
    assert wrong["message"] == f"Item with id '{last}' not found in conversation '{path[18:]}'."
    assert (await api.error("DELETE", f"{path}/items/{last}"))[0] == 404
    await api.json("POST", f"{path}/items", {"items": [said("user", "c")]})
    assert await texts(api, conversation_id) == ["a", "c"]


async def test_empty_conversation_lists_nothing(api: Api):
    listing = await items(api, await conversation(api))

    assert listing == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


async def test_every_kind_of_item_is_kept_as_it_is_shown(api: Api):
    file = await api.upload(b"a,b", "sales.csv")
    given = [
        said("developer", "Be kind."),
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is it?"},
                {"type": "input_image", "image_url": PNG, "detail": "low"},
                {"type": "input_file", "file_id": file["id"]},
            ],
        },
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "secret"},
        {
            "type": "code_interpreter_call",
            "id": "ci_1",
            "code": "1",
            "container_id": "cntr_gone",
            "outputs": [{"type": "logs", "logs": "1\n"}, {"type": "image", "url": PNG}],
            "status": "completed",
        },
        {"type": "function_call", "call_id": "c1", "name": "look_up", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "seven"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
    ]
    conversation_id = await conversation(api, items=given)

    listing = await items(api, conversation_id, f"order=asc&include[]={OUTPUTS}")

    assert [item["type"] for item in listing["data"]] == [
        "message",
        "message",
        "reasoning",
        "code_interpreter_call",
        "function_call",
        "function_call_output",
        "message",
    ]
    parts = listing["data"][1]["content"]
    assert [part["type"] for part in parts] == ["input_text", "input_image", "input_file"]
    assert (parts[1]["detail"], parts[2]["filename"]) == ("low", "sales.csv")
    assert listing["data"][2]["encrypted_content"] == "secret"
    assert listing["data"][3]["outputs"] == given[3]["outputs"]
    path = f"/v1/conversations/{conversation_id}/items/ci_1"
    assert (await api.json("GET", path))["outputs"] is None
    assert (await api.json("GET", f"{path}?include={OUTPUTS}"))["outputs"] == given[3]["outputs"]


async def test_item_of_a_conversation_can_be_referred_to(tmp_path: Path):
    async with memory_api(tmp_path, text("Yes.")) as api:
        one = await conversation(api, items=[said("user", "A heron."), said("user", "b")])
        first = (await items(api, one))["first_id"]
        other = await conversation(api, items=[{"type": "item_reference", "id": first}])

        assert await texts(api, other) == ["A heron."]
        await api.json("POST", "/v1/responses", {"input": [{"id": first}]})
        assert "A heron." in asked(api)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "param", "code", "words"),
    [
        ("POST", "", {"items": "hi"}, 400, "items", "invalid_type", "an array"),
        ("POST", "", {"items": ["hi"]}, 400, "items[0]", "invalid_type", "an object"),
        ("POST", "", {"items": [{}]}, 400, "items[0].role", "missing_required_parameter", "role"),
        ("POST", "", {"items": [said("tool", "x")]}, 400, "items[0].role", "invalid_value", "tool"),
        (
            "POST",
            "",
            {"items": [said("user", "x")] * 21},
            400,
            "items",
            "array_above_max_length",
            "at most 20",
        ),
        (
            "POST",
            "",
            {"items": [{"type": "web_search_call"}]},
            400,
            "items[0].type",
            "invalid_value",
            "not supported by this server",
        ),
        (
            "POST",
            "",
            {"items": [{"role": "user", "content": [{"type": "input_text"}]}]},
            400,
            "items[0].content[0].text",
            "missing_required_parameter",
            "text",
        ),
        (
            "POST",
            "",
            {"items": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
            404,
            "items[0].content[0].file_id",
            None,
            "No such File object: f",
        ),
        (
            "POST",
            "",
            {"items": [{"type": "item_reference", "id": "msg_nope"}]},
            400,
            "items[0].id",
            "item_not_found",
            "'msg_nope' not found",
        ),
        (
            "POST",
            "",
            {"items": [said("user", "x", id="msg_1"), said("user", "y", id="msg_1")]},
            400,
            "items",
            "invalid_value",
            "'msg_1' is given twice",
        ),
        ("POST", "", {"metadata": {"a": 1}}, 400, "metadata.a", "invalid_type", "a string"),
        ("POST", "", [], 400, None, "invalid_type", "an object"),
        ("POST", "/{c}", {}, 400, "metadata", "missing_required_parameter", "metadata"),
        ("POST", "/{c}", {"metadata": 1}, 400, "metadata", "invalid_type", "an object"),
        ("POST", "/{c}/items", {}, 400, "items", "missing_required_parameter", "items"),
        ("POST", "/{c}/items", {"items": None}, 400, "items", "invalid_type", "an array"),
        ("POST", "/{c}/items", {"items": []}, 400, "items", "empty_array", "empty array"),
        (
            "POST",
            "/{c}/items",
            {"items": [said("user", "x")] * 21},
            400,
            "items",
            "array_above_max_length",
            "at most 20",
        ),
        (
            "POST",
            "/{c}/items",
            {"items": [said("user", "again", id="msg_0")]},
            400,
            "items",
            "invalid_value",
            "'msg_0' is in this conversation already",
        ),
        (
            "POST",
            "/{c}/items?include[]=all",
            {"items": [said("user", "x")]},
            400,
            "include[0]",
            "invalid_value",
            "'all'",
        ),
        ("GET", "/{c}/items?limit=0", None, 400, "limit", "integer_below_min_value", ">= 1"),
        ("GET", "/{c}/items?limit=101", None, 400, "limit", "integer_above_max_value", "<= 100"),
        ("GET", "/{c}/items?order=up", None, 400, "order", "invalid_value", "'asc' and 'desc'"),
        ("GET", "/{c}/items?after=msg_nope", None, 400, "after", None, "msg_nope"),
        ("GET", "/{c}/items?include=all", None, 400, "include[0]", "invalid_value", "'all'"),
        ("GET", "/{c}/items/msg_0?include=all", None, 400, "include[0]", "invalid_value", "'all'"),
        ("GET", "/{c}/items/msg_nope", None, 404, None, None, "'msg_nope' not found"),
        ("DELETE", "/{c}/items/msg_nope", None, 404, None, None, "'msg_nope' not found"),
        ("PUT", "/{c}", {}, 405, None, "method_not_supported", "Not allowed to PUT"),
        ("GET", "", None, 405, None, "method_not_supported", "Not allowed to GET"),
        *(
            (method, f"/conv_nope{rest}", body, 404, None, None, "'conv_nope' not found.")
            for method, rest, body in (
                ("GET", "", None),
                ("POST", "", {"metadata": {}}),
                ("DELETE", "", None),
                ("GET", "/items", None),
                ("POST", "/items", {"items": [said("user", "x")]}),
                ("GET", "/items/msg_0", None),
                ("DELETE", "/items/msg_0", None),
            )
        ),
        ("GET", "/conv%00%ff", None, 404, None, None, "not found"),
        ("GET", "/{c}/items/%00%ff", None, 404, None, None, "not found"),
        ("DELETE", "/{c}/items/%00%ff", None, 404, None, None, "not found"),
        ("GET", "/{c}/items?after=%00%ff", None, 400, "after", None, "no object"),
        (
            "GET",
            "/thread_1",
            None,
            400,
            "conversation_id",
            "invalid_value",
            "Invalid 'conversation_id': 'thread_1'. Expected an ID that begins with 'conv'.",
        ),
    ],
)
async def test_wrong_request_says_why_and_changes_nothing(
    api: Api, method, path, body, status, param, code, words
):
    conversation_id = await conversation(
        api, items=[said("user", "x", id="msg_0")], metadata={"a": "b"}
    )

    got, wrong = await api.error(
        method, "/v1/conversations" + path.replace("{c}", conversation_id), body
    )

    assert (got, wrong["param"], wrong["code"]) == (status, param, code)
    assert words in wrong["message"]
    assert await texts(api, conversation_id) == ["x"]
    found = await api.json("GET", f"/v1/conversations/{conversation_id}")
    assert found["metadata"] == {"a": "b"}


async def test_file_of_refused_items_is_not_kept(api: Api):
    picture = {"role": "user", "content": [{"type": "input_image", "image_url": PNG}]}
    conversation_id = await conversation(api, items=[said("user", "x", id="msg_0")])
    path = f"/v1/conversations/{conversation_id}/items"

    await api.error("POST", path, {"items": [picture, said("user", "again", id="msg_0")]})

    assert (await api.json("GET", "/v1/files"))["data"] == []


async def test_conversation_of_another_organization_is_not_there(tmp_path: Path):
    async with memory_api(tmp_path, text("Mine.")) as api:
        mine = bearer(await add_key(api, "org_a"))
        theirs = {"headers": bearer(await add_key(api, "org_b"))}
        made = await api.json(
            "POST", "/v1/conversations", {"items": [said("user", "x", id="msg_0")]}, headers=mine
        )
        path = f"/v1/conversations/{made['id']}"

        for method, rest, body in (
            ("GET", "", None),
            ("POST", "", {"metadata": {"a": "b"}}),
            ("DELETE", "", None),
            ("GET", "/items", None),
            ("POST", "/items", {"items": [said("user", "y")]}),
            ("GET", "/items/msg_0", None),
            ("DELETE", "/items/msg_0", None),
        ):
            status, wrong = await api.error(method, path + rest, body, **theirs)
            assert (status, wrong["message"]) == (
                404,
                f"Conversation with id '{made['id']}' not found.",
            )
        for body in (
            {"conversation": made["id"], "input": "x"},
            {"input": [{"type": "item_reference", "id": "msg_0"}]},
        ):
            assert (await api.error("POST", "/v1/responses", body, **theirs))[0] in (400, 404)
        assert await api.json("GET", path, headers=mine) == made
        listing = await api.json("GET", f"{path}/items", headers=mine)
        assert [item["id"] for item in listing["data"]] == ["msg_0"]


# ---- responses in a conversation ---------------------------------------------------------------


@pytest.mark.parametrize("named", [lambda i: i, lambda i: {"id": i}])
async def test_response_reads_the_conversation_and_adds_to_it(tmp_path: Path, named):
    async with memory_api(tmp_path, text("Hello Ada."), text("Ada.")) as api:
        conversation_id = await conversation(api, items=[said("developer", "Be brief.")])

        first = await respond(api, named(conversation_id), "I am Ada.")
        second = await respond(api, named(conversation_id), "Who am I?")

        assert first["conversation"] == {"id": conversation_id}
        assert await api.json("GET", f"/v1/responses/{first['id']}") == first
        for words in ("Be brief.", "I am Ada.", "Hello Ada.", "Who am I?"):
            assert words in asked(api)
        assert await texts(api, conversation_id) == [
            "Be brief.",
            "I am Ada.",
            "Hello Ada.",
            "Who am I?",
            "Ada.",
        ]
        listing = await items(api, conversation_id)
        assert listing["last_id"] == second["output"][-1]["id"]
        given = await api.json("GET", f"/v1/responses/{second['id']}/input_items")
        assert given["data"] == [listing["data"][3]]


async def test_response_outside_of_a_conversation_has_no_such_key(tmp_path: Path):
    async with memory_api(tmp_path, text("Hello.")) as api:
        assert "conversation" not in await api.json("POST", "/v1/responses", {"input": "hi"})


async def test_every_event_with_a_response_names_the_conversation(tmp_path: Path):
    async with memory_api(tmp_path, text("Hello.")) as api:
        conversation_id = await conversation(api)
        events = await api.events(
            "POST",
            "/v1/responses",
            {"input": "hi", "conversation": conversation_id, "stream": True},
        )

        told = [event["response"] for event in events if "response" in event]
        assert len(told) == 3
        assert {response["conversation"]["id"] for response in told} == {conversation_id}


async def test_code_goes_on_in_the_same_container(tmp_path: Path):
    turns = (code("x = 41"), text("Set."), code("print(x + 1)"), text("42."))
    async with memory_api(tmp_path, *turns) as api:
        conversation_id = await conversation(api)
        first = await respond(api, conversation_id, tools=[CI])
        second = await respond(api, conversation_id, tools=[CI], include=[OUTPUTS])

        assert second["output"][0]["container_id"] == first["output"][0]["container_id"]
        assert second["output"][0]["outputs"] == [{"type": "logs", "logs": "42\n"}]
        listing = await items(api, conversation_id, f"order=asc&include[]={OUTPUTS}")
        assert [item["type"] for item in listing["data"]] == [
            "message",
            "code_interpreter_call",
            "message",
        ] * 2
        assert listing["data"][4] == second["output"][0]


async def test_container_of_a_failed_response_is_kept_and_its_words_are_not(tmp_path: Path):
    refused = error(ModelRefused("Overloaded.", status=500))
    async with memory_api(
        tmp_path, code("x = 41"), refused, code("print(x + 1)"), text("42.")
    ) as api:
        conversation_id = await conversation(api)
        failed = await respond(api, conversation_id, "Count.", tools=[CI])
        assert failed["status"] == "failed"
        assert await texts(api, conversation_id) == []

        second = await respond(api, conversation_id, "Count.", tools=[CI], include=[OUTPUTS])

        assert second["output"][0]["outputs"] == [{"type": "logs", "logs": "42\n"}]
        assert await texts(api, conversation_id) == ["Count.", "code_interpreter_call", "42."]


async def test_files_of_earlier_responses_are_in_the_container_once(tmp_path: Path):
    look = "import os; print(sorted(os.listdir('/mnt/data')))"
    path = "import os, pathlib; f = pathlib.Path('/mnt/data/said.csv'); "
    change = path + "_ = f.write_text('mine'); print('changed')"
    read = path + "print(f.read_text(), sorted(os.listdir('/mnt/data')))"
    turns = (text("Ok."), code(look), text("."), code(change), text("."), code(read), text("."))
    async with memory_api(tmp_path, *turns) as api:
        listed = (await api.upload(b"1", "listed.csv"))["id"]
        said_id = (await api.upload(b"2", "said.csv"))["id"]
        conversation_id = await conversation(api)
        tool = {**CI, "container": {"type": "auto", "file_ids": [listed]}}
        part = {"type": "input_file", "file_id": said_id}
        await respond(api, conversation_id, [{"role": "user", "content": [part]}], tools=[tool])

        shown = [
            (await respond(api, conversation_id, tools=[CI], include=[OUTPUTS]))["output"][0]
            for _ in range(3)
        ]

        assert [call["outputs"][0]["logs"] for call in shown] == [
            "['listed.csv', 'said.csv']\n",
            "changed\n",
            "mine ['listed.csv', 'said.csv']\n",
        ]


async def test_container_that_is_gone_is_made_again_with_the_files_in_it(tmp_path: Path):
    look = "import os; print(sorted(os.listdir('/mnt/data')))"
    async with memory_api(tmp_path, code(look), text("."), code(look), text(".")) as api:
        part = {"type": "input_file", "file_id": (await api.upload(b"1", "said.csv"))["id"]}
        listed = [(await api.upload(b"2", "listed.csv"))["id"]]
        tool = {**CI, "container": {"type": "auto", "file_ids": listed}}
        conversation_id = await conversation(api, items=[{"role": "user", "content": [part]}])
        first = await respond(api, conversation_id, tools=[tool])
        old = first["output"][0]["container_id"]
        await api.json("DELETE", f"/v1/containers/{old}")

        second = await respond(api, conversation_id, tools=[CI], include=[OUTPUTS])

        call = second["output"][0]
        assert call["container_id"] != old
        assert call["outputs"] == [{"type": "logs", "logs": "['listed.csv', 'said.csv']\n"}]


async def test_response_cut_short_adds_what_there_is(tmp_path: Path):
    cut = [TextDelta("Once upon"), TurnFinished("length", Usage(1, 16), "scripted")]
    async with memory_api(tmp_path, cut, text("a time.")) as api:
        conversation_id = await conversation(api)
        first = await respond(api, conversation_id, "A tale.", max_output_tokens=16)
        assert first["status"] == "incomplete"

        await respond(api, conversation_id, "Go on.")

        assert await texts(api, conversation_id) == ["A tale.", "Once upon", "Go on.", "a time."]
        assert (await items(api, conversation_id))["data"][1]["status"] == "incomplete"


async def test_function_call_is_answered_in_the_conversation(tmp_path: Path):
    async with memory_api(tmp_path, function("look_up", {"x": 1}), text("It is 5.")) as api:
        conversation_id = await conversation(api)
        first = await respond(api, conversation_id, tools=[LOOK_UP])
        call_id = first["output"][0]["call_id"]
        status, wrong = await api.error(
            "POST", "/v1/responses", {"input": "x", "conversation": conversation_id}
        )
        assert (status, wrong["param"]) == (400, "input")
        assert wrong["message"] == f"No tool output found for function call {call_id}."

        answer = {"type": "function_call_output", "call_id": call_id, "output": "5"}
        await respond(api, conversation_id, [answer], tools=[LOOK_UP])

        assert await texts(api, conversation_id) == [
            "hi",
            "function_call",
            "function_call_output",
            "It is 5.",
        ]


async def test_unstored_response_adds_to_the_conversation_all_the_same(tmp_path: Path):
    async with memory_api(tmp_path, text("Hello."), text("Again.")) as api:
        conversation_id = await conversation(api)
        first = await respond(api, conversation_id, store=False)
        stored = await respond(api, conversation_id)

        assert (await api.error("GET", f"/v1/responses/{first['id']}"))[0] == 404
        await api.json("DELETE", f"/v1/responses/{stored['id']}")
        assert await texts(api, conversation_id) == ["hi", "Hello.", "hi", "Again."]


async def test_item_sent_again_gets_another_id(tmp_path: Path):
    async with memory_api(tmp_path, text("Yes."), text("Still.")) as api:
        conversation_id = await conversation(api)
        await respond(api, conversation_id, [said("user", "Sure?", id="msg_0")])
        await respond(api, conversation_id, [said("user", "Sure?", id="msg_0")])

        ids = [item["id"] for item in (await items(api, conversation_id))["data"]]
        assert len(set(ids)) == 4
        assert ids[0] == "msg_0"


async def test_response_of_a_conversation_can_be_gone_on_from_by_its_id(tmp_path: Path):
    turns = (text("Hello Ada."), text("Fine."), text("Later."), text("Ada."))
    async with memory_api(tmp_path, *turns) as api:
        conversation_id = await conversation(api, items=[said("developer", "Be brief.")])
        await respond(api, conversation_id, "I am Ada.")
        second = await respond(api, conversation_id, "How are you?")
        await respond(api, conversation_id, "Not in the other branch.")

        await api.json(
            "POST", "/v1/responses", {"input": "Who?", "previous_response_id": second["id"]}
        )

        for words in ("Be brief.", "I am Ada.", "Hello Ada.", "How are you?", "Fine.", "Who?"):
            assert asked(api).count(words) == 1
        assert "Not in the other branch." not in asked(api)
        assert len(await texts(api, conversation_id)) == 7


@pytest.mark.parametrize(
    ("body", "status", "param", "code", "message"),
    [
        (
            {"conversation": "conv_nope"},
            404,
            "conversation",
            None,
            "Conversation with id 'conv_nope' not found.",
        ),
        (
            {"conversation": {"id": "thread_1"}},
            400,
            "conversation",
            "invalid_value",
            "Invalid 'conversation': 'thread_1'. Expected an ID that begins with 'conv'.",
        ),
        (
            {"conversation": "conv_nope", "previous_response_id": "resp_nope"},
            400,
            None,
            "mutually_exclusive_parameters",
            EXCLUSIVE,
        ),
    ],
)
async def test_conversation_that_cannot_be_gone_on_with_leaves_nothing(
    api: Api, body, status, param, code, message
):
    picture = {"role": "user", "content": [{"type": "input_image", "image_url": PNG}]}

    got, wrong = await api.error("POST", "/v1/responses", {"input": [picture], **body})

    assert got == status
    assert wrong == {
        "message": message,
        "type": "invalid_request_error",
        "param": param,
        "code": code,
    }
    assert (await api.json("GET", "/v1/files"))["data"] == []


# ---- one at a time -----------------------------------------------------------------------------


async def test_conversation_is_locked_while_a_response_is_at_work_on_it(tmp_path: Path):
    held = Held()
    async with memory_api(tmp_path, model=held) as api:
        conversation_id = await conversation(api, items=[said("user", "a", id="msg_0")])
        path = f"/v1/conversations/{conversation_id}"
        body = {"input": "b", "conversation": conversation_id}
        first = asyncio.create_task(api.json("POST", "/v1/responses", body))
        await held.is_asked.wait()

        assert await api.error("POST", "/v1/responses", body) == (400, LOCKED)
        assert await api.error("POST", f"{path}/items", {"items": [said("user", "c")]}) == (
            400,
            {**LOCKED, "param": "conversation_id"},
        )
        assert await texts(api, conversation_id) == ["a"]
        await api.json("POST", path, {"metadata": {"k": "v"}})
        await api.json("DELETE", f"{path}/items/msg_0")
        held.may_end.set()
        await first

        assert await texts(api, conversation_id) == ["b", "Done."]
        await api.json("POST", "/v1/responses", body)
        assert await texts(api, conversation_id) == ["b", "Done."] * 2


async def test_of_many_responses_at_once_one_is_made_and_the_others_change_nothing(tmp_path: Path):
    held = Held()
    held.may_end.set()
    async with memory_api(tmp_path, model=held) as api:
        conversation_id = await conversation(api)
        body = {"input": "hi", "conversation": conversation_id}
        replies = await asyncio.gather(
            *(api.http.post("/v1/responses", json=body) for _ in range(8))
        )

        made = [reply for reply in replies if reply.status_code == 200]
        assert made
        assert all(
            reply.json()["error"]["code"] == "conversation_locked"
            for reply in replies
            if reply.status_code != 200
        )
        assert await texts(api, conversation_id) == ["hi", "Done."] * len(made)


async def test_deleted_response_gives_the_conversation_back(tmp_path: Path):
    held = Held()
    async with memory_api(tmp_path, model=held) as api:
        conversation_id = await conversation(api)
        body = {"input": "b", "conversation": conversation_id}
        first = asyncio.create_task(api.json("POST", "/v1/responses", body))
        await held.is_asked.wait()
        [run] = await api.services.store.runs.unfinished()

        await api.json("DELETE", f"/v1/responses/{run.id}")

        assert (await first)["status"] == "cancelled"
        assert await texts(api, conversation_id) == []
        held.may_end.set()
        await api.json("POST", "/v1/responses", body)
        assert await texts(api, conversation_id) == ["b", "Done."]


async def test_response_outlives_its_conversation(tmp_path: Path):
    held = Held()
    async with memory_api(tmp_path, model=held) as api:
        conversation_id = await conversation(api)
        path = f"/v1/conversations/{conversation_id}"
        body = {"input": "b", "conversation": conversation_id}
        first = asyncio.create_task(api.json("POST", "/v1/responses", body))
        await held.is_asked.wait()

        await api.json("DELETE", path)
        held.may_end.set()
        response = await first

        assert response["status"] == "completed"
        assert await api.json("GET", f"/v1/responses/{response['id']}") == response
        assert (await api.error("GET", path))[0] == 404
        again = {"input": "x", "previous_response_id": response["id"]}
        assert (await api.json("POST", "/v1/responses", again))["status"] == "completed"
