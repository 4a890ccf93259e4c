"""Background responses, cancelling them, and responses that are not to be stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from sanderling.models.base import ModelEvent, TextDelta, TurnRequest
from sanderling.models.scripted import ScriptedModel, code, text
from tests.api.making import Api, memory_api, until
from tests.doubles.fake_clock import FakeClock

CI = {"type": "code_interpreter", "container": {"type": "auto"}}
OUTPUTS = ["code_interpreter_call.outputs"]
# Runs until it is interrupted, or the test sets the variable.
WAITING = "import asyncio\nprint('in')\ngo = asyncio.Event()\nawait go.wait()\nprint('out')"
SDK_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
YSXI = "YSxi"  # "a,b" in base64


class Silent(ScriptedModel):
    """A model that says a word and then nothing any more."""

    def __init__(self) -> None:
        super().__init__([])

    async def stream(self, request: TurnRequest) -> AsyncIterator[ModelEvent]:
        yield TextDelta("Well")
        await asyncio.Event().wait()


async def begin(api: Api, **body: Any) -> Any:
    response = await api.json(
        "POST", "/v1/responses", {"input": "x", "tools": [CI], "background": True, **body}
    )
    Response.model_validate(response, strict=False)
    return response


async def wait_for(api: Api, response_id: str, *statuses: str) -> Any:
    async with asyncio.timeout(10):
        while True:
            response = await api.json("GET", f"/v1/responses/{response_id}")
            if response["status"] in statuses:
                return response


async def until_running(api: Api) -> str:
    """Wait until the waiting code has printed; return its container."""
    await until(lambda: any(call[0] == "execute" for call in api.sandbox.calls))
    container_id = next(call[1] for call in api.sandbox.calls if call[0] == "execute")
    await until(lambda: "go" in api.sandbox.variables(container_id))
    return container_id


# ---- background --------------------------------------------------------------------------------


async def test_background_response_is_queued_at_once_and_its_progress_can_be_read(tmp_path: Path):
    turns = (code("print(1)"), code(WAITING), text("Done."))
    async with memory_api(tmp_path, *turns) as api:
        queued = await begin(api, include=OUTPUTS)

        assert (queued["status"], queued["background"], queued["output"]) == ("queued", True, [])
        assert (queued["usage"], queued["completed_at"]) == (None, None)
        container_id = await until_running(api)
        outputs: list[Any] = []
        async with asyncio.timeout(10):
            while outputs != [[("in_progress", "in\n")]]:
                working = await wait_for(api, queued["id"], "in_progress")
                Response.model_validate(working, strict=False)
                first, *rest = working["output"]
                outputs = [[(each["status"], o["logs"]) for o in each["outputs"]] for each in rest]
        assert (first["status"], first["outputs"]) == (
            "completed",
            [{"type": "logs", "logs": "1\n"}],
        )
        api.sandbox.variables(container_id)["go"].set()
        done = await wait_for(api, queued["id"], "completed")
        assert [item["type"] for item in done["output"]] == [
            "code_interpreter_call",
            "code_interpreter_call",
            "message",
        ]
        assert done["output"][1]["outputs"] == [{"type": "logs", "logs": "in\nout\n"}]
        assert done["background"] is True
        assert done["usage"]["total_tokens"] > 0


async def test_words_of_an_answer_are_read_while_they_are_written(tmp_path: Path):
    async with memory_api(tmp_path, model=Silent()) as api:
        queued = await begin(api)

        output: Any = []
        async with asyncio.timeout(10):
            while not output:
                output = (await api.json("GET", f"/v1/responses/{queued['id']}"))["output"]
        assert [item["status"] for item in output] == ["in_progress"]
        assert output[0]["content"][0]["text"] == "Well"
        assert (await api.json("POST", f"/v1/responses/{queued['id']}/cancel"))["output"] == [
            {**output[0], "status": "incomplete"}
        ]


async def test_background_stream_begins_with_queued_and_can_be_left_and_resumed(tmp_path: Path):
    async with memory_api(tmp_path, code("print(1)"), text("One.")) as api:
        body = {"input": "x", "tools": [CI], "background": True, "stream": True}
        events = await api.events("POST", "/v1/responses", body)

        for event in events:
            SDK_EVENT.validate_python(event)
        kinds = [event["type"] for event in events]
        assert kinds[:3] == ["response.created", "response.queued", "response.in_progress"]
        assert [event["response"]["status"] for event in events[:3]] == [
            "queued",
            "queued",
            "in_progress",
        ]
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert events[-1]["response"]["status"] == "completed"
        path = f"/v1/responses/{events[0]['response']['id']}?stream=true"
        assert await api.events("GET", f"{path}&starting_after=1") == events[2:]
        assert await api.events("GET", path) == events


async def test_background_response_that_is_not_to_be_stored_can_be_polled_for_ten_minutes(
    tmp_path: Path,
):
    clock = FakeClock()
    async with memory_api(tmp_path, text("Hi."), clock=clock) as api:
        queued = await begin(api, store=False)

        done = await wait_for(api, queued["id"], "completed")
        assert done["store"] is False
        clock.advance(minutes=11)
        assert await api.services.runner.sweep() == 1
        status, _ = await api.error("GET", f"/v1/responses/{queued['id']}")
        assert status == 404


# ---- cancelling --------------------------------------------------------------------------------


async def test_cancelling_interrupts_the_code_and_is_idempotent(tmp_path: Path):
    async with memory_api(tmp_path, code(WAITING)) as api:
        queued = await begin(api)
        path = f"/v1/responses/{queued['id']}"
        await until_running(api)

        cancelled = await api.json("POST", f"{path}/cancel")

        Response.model_validate(cancelled, strict=False)
        assert (cancelled["status"], cancelled["completed_at"]) == ("cancelled", None)
        assert [item["status"] for item in cancelled["output"]] == ["incomplete"]
        assert (cancelled["error"], cancelled["incomplete_details"]) == (None, None)
        assert any(call[0] == "interrupt" for call in api.sandbox.calls)
        assert await api.json("POST", f"{path}/cancel") == cancelled
        assert await api.json("GET", path) == cancelled
        events = await api.events("GET", f"{path}?stream=true")
        assert events[-1]["response"] == cancelled
        SDK_EVENT.validate_python(events[-1])


async def test_cancelling_what_has_ended_returns_it_as_it_is(tmp_path: Path):
    async with memory_api(tmp_path, text("Hi.")) as api:
        queued = await begin(api)
        done = await wait_for(api, queued["id"], "completed")

        assert await api.json("POST", f"/v1/responses/{queued['id']}/cancel") == done


async def test_deleting_a_background_response_stops_it(tmp_path: Path):
    async with memory_api(tmp_path, code(WAITING)) as api:
        queued = await begin(api)
        await until_running(api)

        await api.json("DELETE", f"/v1/responses/{queued['id']}")

        assert any(call[0] == "interrupt" for call in api.sandbox.calls)
        for method, path in (("GET", ""), ("POST", "/cancel")):
            status, wrong = await api.error(method, f"/v1/responses/{queued['id']}{path}")
            assert status == 404
            assert wrong["message"] == f"Response with id '{queued['id']}' not found."


# ---- not to be stored --------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_response_that_is_not_to_be_stored_leaves_nothing(tmp_path: Path, stream: bool):
    part = {"type": "input_file", "file_data": YSXI, "filename": "a.csv"}
    async with memory_api(tmp_path, text("Hi.")) as api:
        body = {"input": [{"role": "user", "content": [part]}], "store": False, "stream": stream}
        reply = await api.http.post("/v1/responses", json=body)

        assert reply.status_code == 200
        assert '"status":"completed"' in reply.text
        runs = await api.services.store.runs.forget_unstored(1e12)
        assert runs == []
        assert (await api.json("GET", "/v1/files"))["data"] == []
        assert list((tmp_path / "blobs").rglob("*.*")) == []
        [response_id] = {word for word in reply.text.split('"') if word.startswith("resp_")}
        assert await api.services.store.events.last_seq(response_id) == -1


async def test_unstored_response_whose_client_left_is_forgotten_when_it_ends(tmp_path: Path):
    async with memory_api(tmp_path, code(WAITING), text("Done.")) as api:
        body = {"input": "x", "tools": [CI], "store": False}
        client = asyncio.create_task(api.http.post("/v1/responses", json=body))
        container_id = await until_running(api)
        client.cancel()
        await asyncio.wait({client})

        api.sandbox.variables(container_id)["go"].set()

        store = api.services.store
        async with asyncio.timeout(10):
            while await store.runs.unfinished():
                pass
        await api.services.runner.close()
        assert await store.runs.forget_unstored(1e12) == []


# ---- in a conversation -------------------------------------------------------------------------


@pytest.mark.parametrize("body", [{"store": False}, {"background": True}])
async def test_conversation_keeps_what_was_said_in_it(tmp_path: Path, body: dict[str, Any]):
    async with memory_api(tmp_path, text("One."), text("Two.")) as api:
        conversation = await api.json("POST", "/v1/conversations", {})
        asked = {"input": "1?", "conversation": conversation["id"], **body}
        first = await api.json("POST", "/v1/responses", asked)
        if "background" in body:
            await wait_for(api, first["id"], "completed")

        second = await api.json(
            "POST", "/v1/responses", {"input": "2?", "conversation": conversation["id"]}
        )

        assert second["status"] == "completed"
        items = await api.json("GET", f"/v1/conversations/{conversation['id']}/items?order=asc")
        texts = [item["content"][0]["text"] for item in items["data"]]
        assert texts == ["1?", "One.", "2?", "Two."]


async def test_cancelled_background_response_leaves_its_conversation_free(tmp_path: Path):
    async with memory_api(tmp_path, code(WAITING), text("Two.")) as api:
        conversation = await api.json("POST", "/v1/conversations", {})
        queued = await begin(api, conversation=conversation["id"])
        await until_running(api)
        body = {"input": "2?", "conversation": conversation["id"]}
        status, _ = await api.error("POST", "/v1/responses", body)
        assert status == 400

        await api.json("POST", f"/v1/responses/{queued['id']}/cancel")

        assert (await api.json("POST", "/v1/responses", body))["status"] == "completed"
