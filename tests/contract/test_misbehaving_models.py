"""
A real server whose model server misbehaves in every way that real ones were seen to.

What counts is what the client sees: the right answer wherever there is one to be had, else a failed
response that says why in a sentence. Never a hang, an HTTP error or a stream without an end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.responses import Response, ResponseStreamEvent

from sanderling.environments.environment import Environment
from tests.contract.conftest import Play
from tests.contract.servers import LoopThread, PlayedModel, memory_server, real_server
from tests.doubles.model_server import ARGUMENT_FAULTS, FRAME_FAULTS, Turn

pytestmark = pytest.mark.sandbox

MAX_TURNS = 4
CODE = "import math\nprint(round(math.sqrt(2), 4), 'é😀 \"quoted\"')"
PRINTED = '1.4142 é😀 "quoted"\n'
CI: Any = {"type": "code_interpreter", "container": {"type": "auto"}}
LOOK_UP: Any = {
    "type": "function",
    "name": "look_up",
    "description": "Looks a word up.",
    "parameters": {"type": "object", "properties": {"word": {"type": "string"}}},
    "strict": False,
}
HANGING = ("hang", "hang_midway")
# Out of these there is nothing to be recovered when the answer was text.
FATAL_TO_TEXT = ("truncated", "dropped", "error_in_stream", "garbage")
EVERY_WAY = pytest.mark.parametrize("streams", [False, True], ids=["plain", "stream"])


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, model_server: PlayedModel, guest_env: Environment
) -> Iterator[str]:
    options = ("--model-timeout-s", "3s", "--max-turns", str(MAX_TURNS))
    root = tmp_path_factory.mktemp("misbehaving")
    with real_server(root, guest_env.path, model_server.base_url, *options) as base_url:
        yield base_url


@pytest.fixture
def strict(server: str) -> Iterator[OpenAI]:
    """The client under every test; far more patient than any test has to be."""
    with OpenAI(
        base_url=server,
        api_key="none",
        max_retries=0,
        timeout=40.0,
        _strict_response_validation=True,
    ) as client:
        yield client


def ask(client: OpenAI, *, streams: bool, **changes: Any) -> Response:
    """Return the response to one question, having checked the stream's order on the way."""
    body: dict[str, Any] = {
        "model": "m",
        "input": "The square root of 2?",
        "tools": [CI],
        "include": ["code_interpreter_call.outputs"],
        **changes,
    }
    if not streams:
        response: Response = client.responses.create(**body)
        return response
    return last_of(list(client.responses.create(**body, stream=True)))


def last_of(events: list[ResponseStreamEvent]) -> Response:
    """Return the response that a stream ends with, which its deltas must add up to."""
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    last = events[-1]
    assert last.type in {"response.completed", "response.failed", "response.incomplete"}
    response: Response = last.response
    added = [e.item.id for e in events if e.type == "response.output_item.added"]
    done = [e.item for e in events if e.type == "response.output_item.done"]
    assert added == [item.id for item in done] == [item.id for item in response.output]
    if response.status == "completed":
        said = "".join(e.delta for e in events if e.type == "response.output_text.delta")
        assert said == response.output_text
    written = [e.code for e in events if e.type == "response.code_interpreter_call_code.done"]
    assert written == [item.code for item in done if item.type == "code_interpreter_call"]
    return response


def codes(response: Response) -> list[str | None]:
    return [item.code for item in response.output if item.type == "code_interpreter_call"]


def logs(response: Response) -> list[str]:
    return [
        "".join(output.logs for output in item.outputs or () if output.type == "logs")
        for item in response.output
        if item.type == "code_interpreter_call"
    ]


def assert_failed(response: Response, *words: str) -> None:
    assert response.status == "failed"
    assert response.error is not None
    assert [word for word in words if word not in response.error.message] == []
    assert "Traceback" not in response.error.message


# ---- what can be put right ---------------------------------------------------------------------


@EVERY_WAY
@pytest.mark.parametrize(
    "fault",
    sorted({*ARGUMENT_FAULTS, *FRAME_FAULTS} - {*HANGING, "no_tools", "no_formats", "no_schemas"}),
)
def test_code_of_a_model_server_with_a_fault_is_run_once(
    strict: OpenAI, play: Play, fault: str, streams: bool
):
    play(Turn(code=CODE, text="Let me see.", faults=(fault,)), Turn(text="About 1.41."))

    response = ask(strict, streams=streams)

    assert response.status == "completed", response.error
    assert codes(response) == [CODE]
    assert logs(response) == [PRINTED]
    assert response.output_text.endswith("About 1.41.")


@EVERY_WAY
@pytest.mark.parametrize("status", [429, 500, 503])
def test_refusal_that_passes_is_not_seen(strict: OpenAI, play: Play, status: int, streams: bool):
    play(Turn(status=status, times=2, code=CODE), Turn(text="Done."))

    response = ask(strict, streams=streams)

    assert (response.status, logs(response)) == ("completed", [PRINTED])


@EVERY_WAY
def test_call_that_stays_damaged_is_told_to_the_model_which_corrects_it(
    strict: OpenAI, play: Play, streams: bool
):
    model = play(
        Turn(code=CODE, faults=("damaged_arguments",), always=True),
        Turn(code=CODE),
        Turn(text="Done."),
    )

    response = ask(strict, streams=streams)

    assert response.status == "completed"
    assert codes(response)[-1] == CODE
    assert logs(response)[-1] == PRINTED
    told = tool_messages(model.requests[-1])
    assert len(told) == 2
    assert "argument" in told[0]


# ---- what cannot -------------------------------------------------------------------------------


@EVERY_WAY
@pytest.mark.parametrize("fault", FATAL_TO_TEXT)
def test_answer_that_breaks_off_fails_with_its_reason(
    strict: OpenAI, play: Play, fault: str, streams: bool
):
    play(Turn(text="The square root of two is about one and a half.", faults=(fault,)))

    response = ask(strict, streams=streams)

    assert_failed(response, "model server")


@EVERY_WAY
@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (Turn(status=429, error="Slow down."), ("429", "Slow down.", "later")),
        (Turn(status=500, error="Out of cheese."), ("500", "Out of cheese.")),
        (Turn(status=401, error="Who are you?"), ("401", "Who are you?", "SANDERLING_MODEL_KEY")),
        (Turn(status=404, error="No such model."), ("404", "No such model.", "--model-url")),
        (Turn(status=400, error="Too long."), ("400", "Too long.")),
        (Turn(text="x", faults=("html",), always=True), ("chat completion", "--model-url")),
    ],
    ids=["429", "500", "401", "404", "400", "html"],
)
def test_server_that_refuses_makes_a_response_that_says_so(
    strict: OpenAI, play: Play, turn: Turn, words: tuple[str, ...], streams: bool
):
    play(turn)

    response = ask(strict, streams=streams)

    assert_failed(response, *words)
    assert strict.responses.retrieve(response.id).error == response.error


@EVERY_WAY
@pytest.mark.parametrize("fault", HANGING)
def test_server_that_falls_silent_is_left(strict: OpenAI, play: Play, fault: str, streams: bool):
    play(Turn(text="The square root of two", faults=(fault,), always=True))

    response = ask(strict, streams=streams)

    assert_failed(response, "said nothing for 3 s")


@EVERY_WAY
def test_refusal_after_code_has_run_keeps_what_was_done(strict: OpenAI, play: Play, streams: bool):
    play(Turn(code=CODE), Turn(status=401, error="Your key has expired."))

    response = ask(strict, streams=streams)

    assert_failed(response, "Your key has expired.")
    assert logs(response) == [PRINTED]


def test_server_that_is_not_there_makes_a_response_that_says_so(
    tmp_path: Path, loop_thread: LoopThread
):
    # Port 1 is tcpmux, which nobody has used for decades.
    with (
        memory_server(loop_thread, tmp_path, "http://127.0.0.1:1/v1") as base_url,
        OpenAI(base_url=base_url, api_key="none", max_retries=0, timeout=40.0) as client,
    ):
        for streams in (False, True):
            assert_failed(ask(client, streams=streams), "http://127.0.0.1:1/v1", "--model-url")
        with pytest.raises(openai.APIStatusError) as caught:
            client.models.list()
        assert "--model-url" in caught.value.message


# ---- the loop ----------------------------------------------------------------------------------


def tool_messages(request: dict[str, Any]) -> list[str]:
    return [m["content"] for m in request["messages"] if m["role"] == "tool"]


@EVERY_WAY
def test_error_of_the_code_is_read_by_the_model_which_corrects_it(
    strict: OpenAI, play: Play, streams: bool
):
    wrong = "numbers = [1, 2, 3]\ntotal = sum(numbers) / len(number)"
    right = "print(sum(numbers) / len(numbers))"
    model = play(Turn(code=wrong), Turn(code=right), Turn(text="The mean is 2.0."))

    response = ask(strict, streams=streams)

    assert response.status == "completed"
    assert codes(response) == [wrong, right]
    assert [item.to_dict()["status"] for item in response.output] == ["completed"] * 3
    assert logs(response)[1] == "2.0\n"  # the variable of the failed call is there
    (told,) = tool_messages(model.requests[1])
    assert "NameError: name 'number' is not defined" in told
    assert "total = sum(numbers) / len(number)" in told
    assert told.strip() in logs(response)[0] or logs(response)[0].strip() in told


@EVERY_WAY
def test_model_that_never_stops_calling_is_stopped(strict: OpenAI, play: Play, streams: bool):
    model = play(*[Turn(code=f"print({n})") for n in range(50)])

    response = ask(strict, streams=streams)

    assert_failed(response, f"{MAX_TURNS} turns")
    assert len(model.requests) == MAX_TURNS
    assert logs(response) == [f"{n}\n" for n in range(MAX_TURNS - 1)]
    assert model.requests[-1]["tool_choice"] == "none"


@EVERY_WAY
def test_model_that_answers_in_its_last_turn_is_heard(strict: OpenAI, play: Play, streams: bool):
    play(*[Turn(code=f"print({n})") for n in range(MAX_TURNS - 1)], Turn(text="Enough."))

    response = ask(strict, streams=streams)

    assert (response.status, response.output_text) == ("completed", "Enough.")


@EVERY_WAY
@pytest.mark.parametrize("choice", ["required", {"type": "code_interpreter"}])
def test_tool_that_is_required_is_required_once(
    strict: OpenAI, play: Play, choice: Any, streams: bool
):
    model = play(Turn(code=CODE), Turn(text="Done."))

    response = ask(strict, streams=streams, tool_choice=choice)

    assert response.status == "completed"
    python = {"type": "function", "function": {"name": "python"}}
    assert model.requests[0]["tool_choice"] in ("required", python)
    assert model.requests[1].get("tool_choice", "auto") == "auto"


@EVERY_WAY
def test_functions_stand_beside_the_code_interpreter(strict: OpenAI, play: Play, streams: bool):
    look_up = {"name": "look_up", "arguments": {"word": "sanderling"}}
    model = play(Turn(code=CODE, calls=(look_up,)), Turn(text="A wader."))

    first = ask(strict, streams=streams, tools=[CI, LOOK_UP])

    assert first.status == "completed"
    assert [item.type for item in first.output] == ["code_interpreter_call", "function_call"]
    assert logs(first) == [PRINTED]
    call = first.output[1]
    assert call.type == "function_call"
    assert json.loads(call.arguments) == look_up["arguments"]
    assert len(model.requests) == 1

    answer: Any = [
        {"type": "function_call_output", "call_id": call.call_id, "output": "a small wader"}
    ]
    second = ask(
        strict,
        streams=streams,
        tools=[CI, LOOK_UP],
        input=answer,
        previous_response_id=first.id,
    )

    assert second.output_text == "A wader."
    code_told, function_told = tool_messages(model.requests[1])
    assert PRINTED.strip() in code_told
    assert function_told == "a small wader"


@EVERY_WAY
def test_function_that_does_not_exist_is_told_to_the_model_alone(
    strict: OpenAI, play: Play, streams: bool
):
    model = play(
        Turn(calls=({"name": "browse", "arguments": {"url": "x"}},)), Turn(text="I cannot browse.")
    )

    response = ask(strict, streams=streams)

    assert [item.type for item in response.output] == ["message"]
    (told,) = tool_messages(model.requests[1])
    assert "browse" in told


@EVERY_WAY
def test_answer_cut_by_the_token_limit_is_incomplete(strict: OpenAI, play: Play, streams: bool):
    model = play(Turn(text="The square root of", finish="length"))

    response = ask(strict, streams=streams, max_output_tokens=16)

    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.output_text == "The square root of"
    assert model.requests[0]["max_tokens"] == 16


@EVERY_WAY
def test_code_cut_by_the_token_limit_is_not_run(strict: OpenAI, play: Play, streams: bool):
    cut = Turn(
        code="import os\nos.remove('/mnt/data/all-my-work')",
        faults=("cut_arguments",),
        always=True,
        finish="length",
    )
    play(cut)

    response = ask(strict, streams=streams, max_output_tokens=16)

    assert response.status == "incomplete"
    (call,) = response.output
    assert call.type == "code_interpreter_call"
    assert call.status == "incomplete"
    assert not call.outputs


def test_server_is_well_after_all_of_it(strict: OpenAI, play: Play):
    play(Turn(code=CODE), Turn(text="Done."))

    assert logs(ask(strict, streams=True)) == [PRINTED]
