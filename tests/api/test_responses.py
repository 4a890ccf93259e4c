"""The Responses API in process: the official shapes, the scripted model, the real run loop."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
from openai.types.responses import Response, ResponseItemList, ResponseStreamEvent
from pydantic import TypeAdapter

from sanderling.errors import ModelRefused
from sanderling.models.scripted import ScriptedModel, calls, code, error, function, text
from tests.api.making import Api, memory_api, read_events, until

CI = {"type": "code_interpreter", "container": {"type": "auto"}}
LOOK_UP = {"type": "function", "name": "look_up", "parameters": {"type": "object"}}
OUTPUTS = "code_interpreter_call.outputs"
WRITE = "import pathlib\n_ = pathlib.Path('/mnt/data/out.csv').write_text('1')"
SDK_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


async def respond(api: Api, input: Any = "hi", **body: Any) -> Any:
    response = await api.json("POST", "/v1/responses", {"input": input, **body})
    Response.model_validate(response, strict=False)
    return response


def asked(api: Api) -> Any:
    """The messages of the last turn the model was asked for."""
    model = api.services.model
    assert isinstance(model, ScriptedModel)
    return model.requests[-1]


# ---- what comes back ---------------------------------------------------------------------------


async def test_plain_answer(tmp_path: Path):
    async with memory_api(tmp_path, text("Hello.")) as api:
        response = await respond(
            api, model="gpt-x", instructions="Be brief.", metadata={"k": "v"}, user="u"
        )

        assert response["status"] == "completed"
        assert response["model"] == "gpt-x"
        assert response["instructions"] == "Be brief."
        assert (response["metadata"], response["user"]) == ({"k": "v"}, "u")
        (message,) = response["output"]
        assert message["content"] == [
            {"type": "output_text", "annotations": [], "logprobs": [], "text": "Hello."}
        ]
        assert await api.json("GET", f"/v1/responses/{response['id']}") == response


async def test_everything_may_be_left_out(tmp_path: Path):
    async with memory_api(tmp_path, text("Hello.")) as api:
        response = await api.json("POST", "/v1/responses", {})

        assert (response["status"], response["model"]) == ("completed", "sanderling")


async def test_code_runs_and_its_files_are_cited(tmp_path: Path):
    turns = (
        code("print(6 * 7)\n" + WRITE),
        text("It is 42: [out](sandbox:/mnt/data/out.csv)"),
    )
    async with memory_api(tmp_path, *turns) as api:
        response = await respond(api, tools=[CI], include=[OUTPUTS])

        call, message = response["output"]
        assert (call["type"], call["status"]) == ("code_interpreter_call", "completed")
        assert call["outputs"] == [{"type": "logs", "logs": "42\n"}]
        (annotation,) = message["content"][0]["annotations"]
        words = message["content"][0]["text"]
        assert (
            words[annotation["start_index"] : annotation["end_index"]]
            == "sandbox:/mnt/data/out.csv"
        )
        path = f"/v1/containers/{annotation['container_id']}/files/{annotation['file_id']}/content"
        assert (await api.http.get(path)).content == b"1"


async def test_outputs_are_null_unless_included_and_can_be_included_later(tmp_path: Path):
    async with memory_api(tmp_path, code("print(1)"), text("One.")) as api:
        response = await respond(api, tools=[CI])
        path = f"/v1/responses/{response['id']}"

        assert response["output"][0]["outputs"] is None
        assert (await api.json("GET", path))["output"][0]["outputs"] is None
        for query in ("include[]=" + OUTPUTS, "include=" + OUTPUTS, "include[0]=" + OUTPUTS):
            again = await api.json("GET", f"{path}?{query}")
            assert again["output"][0]["outputs"] == [{"type": "logs", "logs": "1\n"}]


async def test_explicit_container_is_used_and_kept(tmp_path: Path):
    async with memory_api(tmp_path, code("x = 41"), text("Set.")) as api:
        container = await api.json("POST", "/v1/containers", {"name": "mine"})
        tool = {"type": "code_interpreter", "container": container["id"]}
        response = await respond(api, tools=[tool])

        assert response["output"][0]["container_id"] == container["id"]
        assert response["tools"] == [tool]
        execution = await api.json(
            "POST", f"/v1/containers/{container['id']}/executions", {"code": "x + 1"}
        )
        assert execution["outputs"] == [{"type": "result", "text": "42"}]


async def test_auto_container_stays_with_the_chain(tmp_path: Path):
    turns = (code("x = 41"), text("Set."), code("print(x + 1)"), text("42."))
    async with memory_api(tmp_path, *turns) as api:
        first = await respond(api, tools=[CI])
        second = await respond(api, tools=[CI], previous_response_id=first["id"], include=[OUTPUTS])

        assert second["previous_response_id"] == first["id"]
        assert second["output"][0]["container_id"] == first["output"][0]["container_id"]
        assert second["output"][0]["outputs"] == [{"type": "logs", "logs": "42\n"}]


async def test_tool_without_container_means_auto(tmp_path: Path):
    async with memory_api(tmp_path, code("1"), text("1.")) as api:
        response = await respond(api, tools=[{"type": "code_interpreter"}])

        assert response["tools"][0]["container"]["type"] == "auto"
        assert response["output"][0]["status"] == "completed"


async def test_function_call_is_answered_by_the_client(tmp_path: Path):
    async with memory_api(tmp_path, function("look_up", {"x": 1}), text("It is 5.")) as api:
        first = await respond(api, tools=[LOOK_UP])
        (call,) = first["output"]
        assert (call["type"], call["name"], call["arguments"]) == (
            "function_call",
            "look_up",
            '{"x": 1}',
        )
        assert first["tools"] == [{**LOOK_UP, "description": None, "strict": False}]
        second = await respond(
            api,
            [{"type": "function_call_output", "call_id": call["call_id"], "output": "5"}],
            previous_response_id=first["id"],
            tools=[LOOK_UP],
        )

        assert second["output"][0]["content"][0]["text"] == "It is 5."
        status, wrong = await api.error(
            "POST", "/v1/responses", {"input": "x", "previous_response_id": first["id"]}
        )
        assert (status, wrong["param"]) == (400, "input")
        assert wrong["message"] == f"No tool output found for function call {call['call_id']}."


@pytest.mark.parametrize(
    ("choice", "asked_for", "offers_code", "functions"),
    [
        ("auto", "auto", True, 1),
        ("none", "none", True, 1),
        ("required", "required", True, 1),
        ({"type": "code_interpreter"}, "python", True, 1),
        ({"type": "function", "name": "look_up"}, "look_up", True, 1),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "code_interpreter"}]},
            "auto",
            True,
            0,
        ),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "look_up"}],
            },
            "look_up",
            False,
            1,
        ),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "code_interpreter"}, {"type": "function", "name": "look_up"}],
            },
            "required",
            True,
            1,
        ),
    ],
)
async def test_tool_choice_reaches_the_model_and_is_shown_again(
    tmp_path: Path, choice, asked_for, offers_code, functions
):
    async with memory_api(tmp_path, text("Yes.")) as api:
        response = await respond(api, tools=[CI, LOOK_UP], tool_choice=choice)

        turn = asked(api)
        assert (turn.tool_choice, len(turn.functions)) == (asked_for, functions)
        assert turn.offers_code or not offers_code or asked_for == "none"
        assert response["tool_choice"] == choice
        assert [tool["type"] for tool in response["tools"]] == ["code_interpreter", "function"]


async def test_settings_reach_the_model_and_are_shown_again(tmp_path: Path):
    schema = {"type": "object", "properties": {}}
    async with memory_api(tmp_path, text("{}")) as api:
        response = await respond(
            api,
            temperature=0.5,
            top_p=0.9,
            max_output_tokens=100,
            parallel_tool_calls=False,
            reasoning={"effort": "low", "summary": "auto"},
            text={
                "format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True},
                "verbosity": "low",
            },
            truncation="auto",
            top_logprobs=2,
            prompt_cache_key="k",
            prompt_cache_retention="in-memory",
            safety_identifier="s",
            service_tier="flex",
        )

        turn = asked(api)
        assert (turn.temperature, turn.top_p, turn.max_output_tokens) == (0.5, 0.9, 100)
        assert (turn.text_format.schema, turn.text_format.strict) == (schema, True)
        assert turn.reasoning_effort == "low"
        assert response["reasoning"] == {"effort": "low", "summary": "auto"}
        assert response["text"]["format"]["schema"] == schema
        assert response["text"]["verbosity"] == "low"
        assert (response["temperature"], response["parallel_tool_calls"]) == (0.5, False)
        assert (response["truncation"], response["top_logprobs"]) == ("auto", 2)
        assert response["prompt_cache_retention"] == "in_memory"


async def test_model_that_fails_ends_in_a_failed_response(tmp_path: Path):
    async with memory_api(tmp_path, error(ModelRefused("Too many.", status=429))) as api:
        response = await respond(api)

        assert response["status"] == "failed"
        assert response["error"] == {"code": "rate_limit_exceeded", "message": "Too many."}
        assert response["completed_at"] is None


# ---- what goes in ------------------------------------------------------------------------------


async def test_file_of_the_input_is_in_the_container_under_its_own_name(tmp_path: Path):
    read = "import pathlib\nprint(pathlib.Path('/mnt/data/sales.csv').read_text())"
    async with memory_api(tmp_path, code(read), text("Read.")) as api:
        file = await api.upload(b"a,b", "sales.csv")
        part = {"type": "input_file", "file_id": file["id"]}
        words = {"type": "input_text", "text": "Read it."}
        response = await respond(
            api, [{"role": "user", "content": [words, part]}], tools=[CI], include=[OUTPUTS]
        )

        assert response["output"][0]["outputs"] == [{"type": "logs", "logs": "a,b\n"}]
        listing = await api.json("GET", f"/v1/responses/{response['id']}/input_items")
        ResponseItemList.model_validate(listing)
        assert listing["data"][0]["content"] == [
            words,
            {"type": "input_file", "file_id": file["id"], "filename": "sales.csv"},
        ]


@pytest.mark.parametrize(
    ("data", "filename", "stored_as"),
    [
        ("data:text/csv;base64," + base64.b64encode(b"a,b").decode(), "s.csv", "s.csv"),
        ("data:text/csv;charset=utf-8;base64,YSxi", None, "file.csv"),
        ("YSxi", "s.csv", "s.csv"),
        ("YS xi\n", "../s.csv", "s.csv"),
    ],
)
async def test_file_inside_the_request_becomes_a_stored_file(
    tmp_path: Path, data: str, filename: str | None, stored_as: str
):
    async with memory_api(tmp_path, text("Seen.")) as api:
        part = {"type": "input_file", "file_data": data, "filename": filename}
        await respond(api, [{"role": "user", "content": [part]}])

        (file,) = (await api.json("GET", "/v1/files"))["data"]
        assert (file["filename"], file["purpose"], file["bytes"]) == (stored_as, "user_data", 3)
        assert (await api.http.get(f"/v1/files/{file['id']}/content")).content == b"a,b"


async def test_image_inside_the_request_becomes_a_stored_file_the_model_sees(tmp_path: Path):
    png = b"\x89PNG\r\n\x1a\n..."
    url = "data:image/png;base64," + base64.b64encode(png).decode()
    async with memory_api(tmp_path, text("Seen.")) as api:
        part = {"type": "input_image", "image_url": url, "detail": "low"}
        await respond(api, [{"role": "user", "content": [part]}])

        (file,) = (await api.json("GET", "/v1/files"))["data"]
        assert (file["filename"], file["purpose"]) == ("image.png", "vision")
        assert url in str(asked(api).messages)


async def test_image_of_the_input_is_shown_where_it_is_asked_for(tmp_path: Path):
    png = b"\x89PNG\r\n\x1a\n..."
    url = "data:image/png;base64," + base64.b64encode(png).decode()
    async with memory_api(tmp_path, text("Seen.")) as api:
        part = {"type": "input_image", "image_url": url}
        words = {"type": "input_text", "text": "What is it?"}
        response = await respond(api, [{"role": "user", "content": [words, part]}])
        path = f"/v1/responses/{response['id']}/input_items"

        plain = await api.json("GET", path)
        shown = await api.json("GET", f"{path}?include[]=message.input_image.image_url")

        ResponseItemList.model_validate(shown)
        assert plain["data"][0]["content"][1]["image_url"] is None
        assert shown["data"][0]["content"][1]["image_url"] == url
        await api.json("DELETE", f"/v1/files/{plain['data'][0]['content'][1]['file_id']}")
        gone = await api.json("GET", f"{path}?include[]=message.input_image.image_url")
        assert gone == plain


async def test_reasoning_of_another_server_is_shown_as_it_came(tmp_path: Path):
    given = {
        "type": "reasoning",
        "id": "rs_x",
        "summary": [{"type": "summary_text", "text": "Short."}],
        "content": [{"type": "reasoning_text", "text": "Long."}],
        "encrypted_content": "gAAAAABo",
    }
    async with memory_api(tmp_path, text("Hi.")) as api:
        response = await respond(api, [given, {"role": "user", "content": "Hi"}])

        listing = await api.json("GET", f"/v1/responses/{response['id']}/input_items?order=asc")
        assert listing["data"][0] == given
        assert "Long." not in str(asked(api).messages)


async def test_image_with_a_web_address_is_left_to_the_model_server(tmp_path: Path):
    async with memory_api(tmp_path, text("Seen.")) as api:
        part = {"type": "input_image", "image_url": "https://example.org/a.png"}
        await respond(api, [{"role": "user", "content": [part]}])

        assert "https://example.org/a.png" in str(asked(api).messages)


async def test_wrong_request_leaves_no_file_behind(api: Api):
    part = {"type": "input_file", "file_data": "YSxi", "filename": "a.csv"}
    wrong = {"role": "user", "content": [part, {"type": "input_file", "file_id": "file-nope"}]}

    for body in (
        {"input": [wrong]},
        {"input": [{"role": "user", "content": [part]}], "previous_response_id": "resp_nope"},
        {"input": [{"role": "user", "content": [part]}], "tool_choice": "required"},
    ):
        await api.error("POST", "/v1/responses", body)

    assert (await api.json("GET", "/v1/files"))["data"] == []


async def test_whole_conversation_may_be_replayed_without_any_id_known(tmp_path: Path):
    replayed = [
        {"type": "message", "role": "developer", "content": "Be kind."},
        {"role": "user", "content": "What is 6 * 7?"},
        {"type": "reasoning", "id": "rs_x", "summary": [], "encrypted_content": "abc"},
        {
            "type": "code_interpreter_call",
            "id": "ci_gone",
            "code": "print(6 * 7)",
            "container_id": "cntr_gone",
            "outputs": [
                {"type": "logs", "logs": "42\n"},
                {"type": "image", "url": "data:image/png;base64,AA=="},
            ],
            "status": "completed",
        },
        {
            "type": "message",
            "role": "assistant",
            "id": "msg_x",
            "status": "completed",
            "content": [{"type": "output_text", "text": "42.", "annotations": []}],
        },
        {"type": "function_call", "call_id": "c1", "name": "look_up", "arguments": "{}"},
        {
            "type": "function_call_output",
            "call_id": "c1",
            "output": [{"type": "input_text", "text": "seven"}],
        },
        {"role": "user", "content": [{"type": "input_text", "text": "Sure?"}]},
    ]
    async with memory_api(tmp_path, text("Sure.")) as api:
        response = await respond(api, replayed, tools=[CI, LOOK_UP])

        seen = str(asked(api).messages)
        for words in ("Be kind.", "6 * 7", "42", "seven", "Sure?"):
            assert words in seen
        listing = await api.json(
            "GET", f"/v1/responses/{response['id']}/input_items?order=asc&include[]={OUTPUTS}"
        )
        ResponseItemList.model_validate(listing)
        assert [item["type"] for item in listing["data"]] == [
            "message",
            "message",
            "reasoning",
            "code_interpreter_call",
            "message",
            "function_call",
            "function_call_output",
            "message",
        ]
        assert listing["data"][3]["outputs"][0] == {"type": "logs", "logs": "42\n"}


async def test_replayed_call_of_ours_brings_its_outputs_along(tmp_path: Path):
    async with memory_api(tmp_path, code("print(6 * 7)"), text("42."), text("Yes.")) as api:
        first = await respond(api, tools=[CI])
        assert first["output"][0]["outputs"] is None

        await respond(api, [*first["output"], {"role": "user", "content": "Sure?"}], tools=[CI])

        tool_messages = [m for m in asked(api).messages if m["role"] == "tool"]
        assert "42" in tool_messages[0]["content"]


async def test_item_reference_stands_for_the_item(tmp_path: Path):
    async with memory_api(tmp_path, text("I am Sanderling."), text("Yes.")) as api:
        first = await respond(api)
        message_id = first["output"][0]["id"]

        await respond(api, [{"id": message_id}, {"role": "user", "content": "Sure?"}])

        assert "I am Sanderling." in str(asked(api).messages)


async def test_picture_in_a_functions_output_is_shown_after_it(tmp_path: Path):
    png = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n..").decode()
    async with memory_api(tmp_path, text("Seen.")) as api:
        await respond(
            api,
            [
                {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
                {
                    "type": "function_call_output",
                    "call_id": "c1",
                    "output": [{"type": "input_image", "image_url": png}],
                },
            ],
        )

        messages = asked(api).messages
        assert messages[-1]["role"] == "user"
        assert png in str(messages[-1])


# ---- streams -----------------------------------------------------------------------------------


async def test_stream_is_the_run_as_it_happens_and_ends_with_the_plain_reply(tmp_path: Path):
    async with memory_api(tmp_path, calls("print(1)", "print(2)"), text("Done.")) as api:
        events = await api.events(
            "POST", "/v1/responses", {"input": "x", "tools": [CI], "stream": True}
        )

        for event in events:
            SDK_EVENT.validate_python(event)
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert events[-1]["type"] == "response.completed"
        response = events[-1]["response"]
        assert [item["type"] for item in response["output"]] == [
            "code_interpreter_call",
            "code_interpreter_call",
            "message",
        ]
        assert await api.json("GET", f"/v1/responses/{response['id']}") == response


async def test_stream_is_replayed_from_any_event_on(tmp_path: Path):
    async with memory_api(tmp_path, code("print(1)"), text("Done.")) as api:
        options = {"include_output_deltas": True}
        events = await api.events(
            "POST",
            "/v1/responses",
            {"input": "x", "tools": [CI], "stream": True, "stream_options": options},
        )
        path = f"/v1/responses/{events[-1]['response']['id']}?stream=true"

        assert await api.events("GET", path) == events
        assert await api.events("GET", f"{path}&starting_after=5") == events[6:]
        assert await api.events("GET", f"{path}&starting_after=9999") == []


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("stream=maybe", "stream"),
        ("stream=true&starting_after=x", "starting_after"),
        ("stream=true&starting_after=-1", "starting_after"),
    ],
)
async def test_wrong_replay_is_400(tmp_path: Path, query: str, param: str):
    async with memory_api(tmp_path, text("Hi.")) as api:
        response = await respond(api)

        status, wrong = await api.error("GET", f"/v1/responses/{response['id']}?{query}")
        assert (status, wrong["param"]) == (400, param)


async def test_stream_of_a_run_that_fails_ends_with_failed(tmp_path: Path):
    turn = error(ModelRefused("Broken.", status=500), say="Let me")
    async with memory_api(tmp_path, turn) as api:
        events = await api.events("POST", "/v1/responses", {"input": "x", "stream": True})

        assert events[-1]["type"] == "response.failed"
        assert events[-1]["response"]["error"]["message"] == "Broken."
        assert events[-1]["response"]["output"][0]["status"] == "incomplete"


async def test_stopping_the_server_ends_open_streams_with_failed(tmp_path: Path):
    waiting = "import asyncio\nprint('in')\nawait asyncio.Event().wait()"
    async with memory_api(tmp_path, code(waiting)) as api:
        reply = asyncio.create_task(
            api.http.post("/v1/responses", json={"input": "x", "tools": [CI], "stream": True})
        )
        await until(lambda: any(call[0] == "execute" for call in api.sandbox.calls))
        await api.services.runner.close()

        events = read_events((await reply).text)
        assert events[-1]["type"] == "response.failed"
        assert events[-1]["response"]["error"]["code"] == "server_error"


# ---- afterwards --------------------------------------------------------------------------------


async def test_response_is_deleted(tmp_path: Path):
    async with memory_api(tmp_path, text("Hi.")) as api:
        response = await respond(api)
        path = f"/v1/responses/{response['id']}"

        assert await api.json("DELETE", path) == {
            "id": response["id"],
            "object": "response",
            "deleted": True,
        }
        for again in ("GET", "DELETE"):
            status, _ = await api.error(again, path)
            assert status == 404


async def test_response_that_was_not_to_be_stored_is_not_there(tmp_path: Path):
    async with memory_api(tmp_path, text("Hi.")) as api:
        response = await respond(api, store=False)

        assert response["store"] is False
        assert response["status"] == "completed"
        status, _ = await api.error("GET", f"/v1/responses/{response['id']}")
        assert status == 404
        status, wrong = await api.error(
            "POST", "/v1/responses", {"input": "x", "previous_response_id": response["id"]}
        )
        assert wrong["code"] == "previous_response_not_found"


async def test_plain_response_cannot_be_cancelled(tmp_path: Path):
    async with memory_api(tmp_path, text("Hi.")) as api:
        response = await respond(api)

        status, wrong = await api.error("POST", f"/v1/responses/{response['id']}/cancel")
        assert (status, wrong["message"]) == (400, "Cannot cancel a synchronous response.")


async def test_input_items_are_paged(tmp_path: Path):
    async with memory_api(tmp_path, text("Hi.")) as api:
        given = [{"role": "user", "content": str(n)} for n in range(3)]
        response = await respond(api, given)
        path = f"/v1/responses/{response['id']}/input_items"

        def texts(listing: Any) -> list[str]:
            return [item["content"][0]["text"] for item in listing["data"]]

        first = await api.json("GET", f"{path}?limit=2")
        assert (texts(first), first["has_more"]) == (["2", "1"], True)
        rest = await api.json("GET", f"{path}?after={first['last_id']}")
        assert (texts(rest), rest["has_more"]) == (["0"], False)
        assert texts(await api.json("GET", f"{path}?order=asc")) == ["0", "1", "2"]


async def test_models_are_listed_and_retrieved(api: Api):
    model = {"id": "scripted", "object": "model", "created": 0, "owned_by": "sanderling"}

    assert await api.json("GET", "/v1/models") == {"object": "list", "data": [model]}
    assert await api.json("GET", "/v1/models/scripted") == model


async def test_every_reply_carries_the_headers_sdks_show(api: Api):
    reply = await api.http.get("/v1/models")

    assert reply.headers["x-request-id"].startswith("req_")
    assert int(reply.headers["openai-processing-ms"]) >= 1
    assert reply.headers["openai-version"] == "2020-10-01"
