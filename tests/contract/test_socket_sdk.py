"""WebSocket mode: through the SDK's `responses.connect()`, and by hand for what it cannot say."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from openai.types.responses.responses_server_event import ResponsesServerEvent
from pydantic import TypeAdapter
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from sanderling.api.auth import OPEN_ORGANIZATION
from sanderling.api.bodies import JSON_BYTES_MAX
from sanderling.api.responses import socket
from sanderling.api.services import Services
from tests.contract.conftest import Play
from tests.contract.servers import LoopThread, PlayedModel, memory_server
from tests.doubles.model_server import Turn

CI: Any = {"type": "code_interpreter", "container": {"type": "auto"}}
EVENT: TypeAdapter[Any] = TypeAdapter(ResponsesServerEvent)


def events_of(connection: Any) -> list[Any]:
    """Return the events up to the end of a response, or to an error."""
    events = []
    for event in connection:
        events.append(event)
        if event.type in ("response.completed", "response.failed", "response.incomplete", "error"):
            return events
    raise AssertionError("the connection was closed")


def ask(connection: Any, **body: Any) -> Any:
    """Send a request; return the response it ended with."""
    connection.response.create(**body)
    return events_of(connection)[-1].response


class Raw:
    """A connection by hand."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def send(self, message: Any) -> None:
        self.connection.send(message if isinstance(message, str | bytes) else json.dumps(message))

    def receive(self) -> Any:
        event = json.loads(self.connection.recv(timeout=20))
        EVENT.validate_python(event)
        return event

    def until_end(self) -> list[Any]:
        events = [self.receive()]
        while events[-1]["type"] not in ("response.completed", "error"):
            events.append(self.receive())
        return events


@pytest.fixture
def raw(live_server: str) -> Iterator[Raw]:
    with connect(url_of(live_server)) as connection:
        yield Raw(connection)


def url_of(base_url: str) -> str:
    return base_url.replace("http://", "ws://") + "/responses"


def create(**body: Any) -> Any:
    return {"type": "response.create", "model": "m", **body}


def test_events_are_those_of_a_stream_and_the_response_is_stored(client: OpenAI, play: Play):
    play(Turn(code="print(6 * 7)", reasoning="Hm."), Turn(text="It is 42."))

    with client.responses.connect() as connection:
        connection.response.create(model="m", input="6 * 7?", tools=[CI])
        events = events_of(connection)

    last = events[-1]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    streamed = list(client.responses.retrieve(last.response.id, stream=True))
    assert [event.type for event in events] == [event.type for event in streamed]
    assert last.response.to_dict() == client.responses.retrieve(last.response.id).to_dict()


def test_responses_go_on_from_each_other_also_those_not_to_be_stored(client: OpenAI, play: Play):
    model = play(
        Turn(code="x = 41"), Turn(text="Set."), Turn(code="print(x + 1)"), Turn(text="42.")
    )
    outputs: Any = ["code_interpreter_call.outputs"]

    with client.responses.connect() as connection:
        first = ask(connection, model="m", input="x = 41", tools=[CI], store=False)
        second = ask(
            connection,
            model="m",
            input="x + 1?",
            tools=[CI],
            include=outputs,
            store=False,
            previous_response_id=first.id,
        )
        connection.response.create(model="m", input="?", previous_response_id="resp_nope")
        wrong = events_of(connection)[-1]

    assert second.output[0].outputs[0].logs == "42\n"
    assert second.output[0].container_id == first.output[0].container_id
    assert "x = 41" in str(model.requests[-1]["messages"])
    assert (wrong.type, wrong.status) == ("error", 400)
    assert wrong.error.code == "previous_response_not_found"
    play(Turn(text="Hi."))
    with client.responses.connect() as other:
        other.response.create(model="m", input="?", previous_response_id=first.id)
        assert events_of(other)[-1].error.code == "previous_response_not_found"


def test_run_that_was_gone_on_from_in_a_wrong_way_is_not_there_any_more(raw: Raw, play: Play):
    play(Turn(text="One."), Turn(text="Two."), Turn(text="Three."))
    raw.send(create(input="1", store=False))
    first = raw.until_end()[-1]["response"]["id"]
    raw.send(create(input="2", store=False, previous_response_id=first))
    second = raw.until_end()[-1]["response"]["id"]
    orphan = {"type": "function_call_output", "call_id": "call_nope", "output": "5"}
    raw.send(create(input=[orphan], store=False, previous_response_id=first))
    assert raw.receive()["error"]["param"] == "input"

    raw.send(create(input="?", store=False, previous_response_id=first))
    gone = raw.receive()
    raw.send(create(input="3", store=False, previous_response_id=second))
    kept = raw.until_end()[-1]

    assert gone["error"]["code"] == "previous_response_not_found"
    assert kept["response"]["output"][0]["content"][0]["text"] == "Three."


def test_request_without_generation_prepares_what_is_gone_on_from(client: OpenAI, play: Play):
    model = play(Turn(text="Blue."))

    with client.responses.connect() as connection:
        prepared = ask(connection, model="m", input="The sky is blue.", generate=False)
        assert (prepared.status, prepared.output, model.requests) == ("completed", [], [])
        answer = ask(connection, model="m", input="Sky?", previous_response_id=prepared.id)

    assert answer.output_text == "Blue."
    assert "The sky is blue." in str(model.requests[-1]["messages"])


def test_requests_wait_for_each_other_and_their_lanes_are_repeated(raw: Raw, play: Play):
    play(Turn(text="One."), Turn(text="Two."))
    raw.send(create(input="1", stream_id="a"))
    raw.send(json.dumps(create(input="2", stream_id="b")).encode())

    first, second = raw.until_end(), raw.until_end()

    assert {event["stream_id"] for event in first} == {"a"}
    assert {event["stream_id"] for event in second} == {"b"}
    assert first[-1]["response"]["output"][0]["content"][0]["text"] == "One."


@pytest.mark.parametrize(
    ("message", "status", "code", "param"),
    [
        ("{", 400, "invalid_json", None),
        ("", 400, "missing_required_parameter", "type"),
        (b"\xff", 400, "invalid_json", None),
        ("[]", 400, "invalid_type", None),
        ({"type": "response.cancel"}, 400, "invalid_value", "type"),
        ({"type": 5}, 400, "invalid_value", "type"),
        ({"model": "m"}, 400, "missing_required_parameter", "type"),
        (create(input=5), 400, "invalid_type", "input"),
        (create(background=True), 400, "unsupported_parameter", "background"),
        (create(generate="no"), 400, "invalid_type", "generate"),
        (create(stream_id=5), 400, "invalid_type", "stream_id"),
        (create(tools=[{"type": "code_interpreter", "container": "cntr_x"}]), 404, None, None),
    ],
)
def test_wrong_message_is_told_and_the_connection_goes_on(
    raw: Raw, play: Play, message: Any, status: int, code: str | None, param: str | None
):
    play(Turn(text="Hi."))
    raw.send(message)

    wrong = raw.receive()

    assert (wrong["type"], wrong["status"]) == ("error", status)
    assert set(wrong["error"]) == {"message", "type", "param", "code"}
    if code is not None:
        assert (wrong["error"]["code"], wrong["error"]["param"]) == (code, param)
    raw.send(create(input="Hi"))
    assert raw.until_end()[-1]["type"] == "response.completed"


def test_more_requests_than_may_wait_are_refused_and_the_others_answered(raw: Raw, play: Play):
    play(*[Turn(text="Hi.")] * (socket.WAITING_MAX + 2))
    for _ in range(socket.WAITING_MAX * 3):
        raw.send(create(input="Hi"))

    ends = [raw.until_end()[-1] for _ in range(socket.WAITING_MAX * 3)]

    refused = [event for event in ends if event["type"] == "error"]
    assert refused
    assert {(event["status"], event["error"]["code"]) for event in refused} == {
        (429, "rate_limit_exceeded")
    }


def test_message_longer_than_a_body_may_be_closes_the_connection(raw: Raw):
    with contextlib.suppress(ConnectionClosed):  # it may be closed before all of it was sent
        raw.send(" " * (JSON_BYTES_MAX + 1))
    with pytest.raises(ConnectionClosed) as closed:
        raw.receive()

    assert closed.value.rcvd is None or closed.value.rcvd.code == 1009


def test_connection_ends_after_its_time(
    loop_thread: LoopThread,
    model_server: PlayedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(socket, "SOCKET_S_MAX", 0.01)

    with (
        memory_server(loop_thread, tmp_path, model_server.base_url) as base_url,
        connect(url_of(base_url)) as connection,
    ):
        wrong = Raw(connection).receive()
        with pytest.raises(ConnectionClosed):
            Raw(connection).receive()

    assert wrong["error"]["code"] == "websocket_connection_limit_reached"


def test_what_was_not_to_be_stored_is_kept_with_the_connection_and_gone_with_it(
    loop_thread: LoopThread, model_server: PlayedModel, play: Play, tmp_path: Path
):
    play(Turn(text="Hi."))
    parts: list[Services] = []

    async def note(services: Services) -> None:
        parts.append(services)

    async def is_there(run_id: str) -> bool:
        await parts[0].runner.sweep()
        return await parts[0].store.runs.get(OPEN_ORGANIZATION, run_id) is not None

    with memory_server(loop_thread, tmp_path, model_server.base_url, note) as base_url:
        with connect(url_of(base_url)) as connection:
            Raw(connection).send(create(input="Hi", store=False))
            run_id = Raw(connection).until_end()[-1]["response"]["id"]
            assert loop_thread.run(is_there(run_id))

        deadline = time.monotonic() + 20
        while loop_thread.run(is_there(run_id)):
            assert time.monotonic() < deadline


def test_web_page_of_another_site_gets_no_connection(live_server: str):
    with pytest.raises(InvalidStatus) as refused:
        connect(url_of(live_server), origin="https://site.example")  # type: ignore[arg-type]

    reply = refused.value.response
    assert reply.status_code == 401
    assert json.loads(reply.body)["error"]["type"] == "invalid_request_error"
    assert reply.headers["x-request-id"].startswith("req_")


def test_server_that_stops_closes_its_connections(
    loop_thread: LoopThread, model_server: PlayedModel, tmp_path: Path
):
    with contextlib.ExitStack() as stack:
        with memory_server(loop_thread, tmp_path, model_server.base_url) as base_url:
            connection = stack.enter_context(connect(url_of(base_url)))
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=20)

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012  # RFC 6455's registry: service restart


def test_requests_on_a_connection_count_against_the_rate(
    loop_thread: LoopThread, model_server: PlayedModel, play: Play, tmp_path: Path
):
    play(Turn(text="Hi."))
    with (
        memory_server(
            loop_thread, tmp_path, model_server.base_url, requests_per_minute=2
        ) as base_url,
        connect(url_of(base_url)) as connection,  # the first of the two
    ):
        own = Raw(connection)
        own.send(create(input="Hi"))
        assert own.until_end()[-1]["type"] == "response.completed"
        own.send(create(input="Hi"))
        refused = own.receive()

    assert (refused["status"], refused["error"]["code"]) == (429, "rate_limit_exceeded")
