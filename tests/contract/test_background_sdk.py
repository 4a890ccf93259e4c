"""Background responses through the official SDK, and what becomes of the code that they run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.responses import Response

from tests.contract.conftest import Play
from tests.doubles.model_server import Turn

CI: Any = {"type": "code_interpreter", "container": {"type": "auto"}}
OUTPUTS: Any = ["code_interpreter_call.outputs"]
SLEEPER = "import asyncio\nx = 41\nprint('begun')\nawait asyncio.sleep(600)"


def poll(client: OpenAI, response_id: str, is_there: Callable[[Response], bool]) -> Response:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        response = client.responses.retrieve(response_id)
        if is_there(response):
            return response
    raise AssertionError("it did not come to that within a minute")


def test_background_response_is_polled_to_its_end_and_shows_its_outputs(client: OpenAI, play: Play):
    play(Turn(code="print(6 * 7)"), Turn(text="It is 42."))

    queued = client.responses.create(
        model="m", input="6 * 7?", tools=[CI], background=True, include=OUTPUTS
    )
    done = poll(client, queued.id, lambda r: r.status not in ("queued", "in_progress"))

    assert (queued.status, queued.background, queued.output) == ("queued", True, [])
    assert (done.status, done.output_text) == ("completed", "It is 42.")
    assert done.output[0].type == "code_interpreter_call"
    assert [output.to_dict() for output in done.output[0].outputs or ()] == [
        {"type": "logs", "logs": "42\n"}
    ]


def test_cancelling_stops_the_code_and_the_conversation_goes_on(client: OpenAI, play: Play):
    play(Turn(code=SLEEPER))
    stream: Any = client.responses.create(
        model="m", input="x", tools=[CI], background=True, stream=True
    )
    response_id = next(iter(stream)).response.id
    for event in stream:
        if event.type == "response.code_interpreter_call.interpreting":
            break

    cancelled = client.responses.cancel(response_id)
    rest = list(stream)

    assert cancelled.status == "cancelled"
    assert rest[-1].response == cancelled
    assert client.responses.cancel(response_id) == cancelled
    # What the code left behind is still there: it was interrupted, not its process ended.
    play(Turn(code="print(x + 1)"), Turn(text="42."))
    following = client.responses.create(
        model="m", input="x + 1?", tools=[CI], previous_response_id=response_id, include=OUTPUTS
    )
    assert following.output[0].type == "code_interpreter_call"
    assert [output.to_dict() for output in following.output[0].outputs or ()] == [
        {"type": "logs", "logs": "42\n"}
    ]


def test_only_background_responses_can_be_cancelled(client: OpenAI, play: Play):
    play(Turn(text="Hi."))
    response = client.responses.create(model="m", input="Hi")

    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.cancel(response.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.cancel("resp_nope")

    assert refused.value.body == {
        "message": "Cannot cancel a synchronous response.",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
