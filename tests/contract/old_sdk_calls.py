"""
The calls of the official SDK that our clients make, as a program that any SDK from 1.x up can run.

It runs with the Python of an old SDK's environment (see test_old_sdk.py), against the server that
OPENAI_BASE_URL names, whose model is the offline one. Standard output is one JSON object: the SDK's
version, and the name of each check -> null, or the traceback of what went wrong.
"""

from __future__ import annotations

import io
import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

import openai
from openai import OpenAI

# Every reply and every event must be exactly what this SDK's models say, or the call raises.
client = OpenAI(api_key="none", max_retries=0, _strict_response_validation=True)

AUTO: Any = {"type": "code_interpreter", "container": {"type": "auto"}}
OUTPUTS: Any = ["code_interpreter_call.outputs"]

CHECKS: dict[str, Callable[[], None]] = {}


def check(function: Callable[[], None]) -> Callable[[], None]:
    CHECKS[function.__name__] = function
    return function


def code(source: str) -> str:
    """Return a message that makes the offline model run `source` as it is."""
    return f"Run this:\n```python\n{source}\n```"


@check
def files_live_their_whole_life() -> None:
    file = client.files.create(file=("sales.csv", b"a,b\n1,2\n"), purpose="user_data")
    assert (file.filename, file.bytes, file.purpose) == ("sales.csv", 8, "user_data")
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).read() == b"a,b\n1,2\n"
    listed = client.files.list(purpose="user_data", limit=1)
    assert [f.id for f in listed.data] == [file.id]
    assert file.id in [f.id for f in client.files.list(limit=1)]  # over every page
    assert client.files.delete(file.id).deleted is True
    assert file.id not in [f.id for f in client.files.list()]


@check
def files_come_in_parts_and_go_into_a_container_by_their_id() -> None:
    content = bytes(range(256)) * 1000
    upload = client.uploads.upload_file_chunked(
        file=content,
        filename="parts.bin",
        bytes=len(content),
        mime_type="application/octet-stream",
        purpose="assistants",
        part_size=100_000,
    )
    assert upload.file is not None
    assert client.files.content(upload.file.id).read() == content
    container = client.containers.create(name="parts")
    file = client.containers.files.create(container.id, file_id=upload.file.id)  # multipart then
    assert (file.path, file.bytes) == ("/mnt/data/parts.bin", len(content))


@check
def containers_live_their_whole_life() -> None:
    made = client.containers.create(
        name="old", expires_after={"anchor": "last_active_at", "minutes": 10}
    )
    assert (made.name, made.status) == ("old", "running")
    assert made.expires_after is not None
    assert made.expires_after.minutes == 10
    assert client.containers.retrieve(made.id).id == made.id
    assert made.id in [container.id for container in client.containers.list(limit=1)]
    client.containers.delete(made.id)
    assert made.id not in [container.id for container in client.containers.list()]


@check
def container_files_live_their_whole_life() -> None:
    container = client.containers.create(name="files")
    files = client.containers.files
    file = files.create(container.id, file=io.BytesIO(b"abc"))
    assert (file.bytes, file.source, file.container_id) == (3, "user", container.id)
    assert files.retrieve(file.id, container_id=container.id).path == file.path
    assert files.content.retrieve(file.id, container_id=container.id).read() == b"abc"
    assert [f.id for f in files.list(container.id)] == [file.id]
    files.delete(file.id, container_id=container.id)
    assert list(files.list(container.id)) == []


@check
def a_stored_file_is_put_into_a_container_by_its_id() -> None:
    stored = client.files.create(file=("numbers.csv", b"n\n1\n2\n"), purpose="user_data")
    container = client.containers.create(name="stored")
    # This SDK sends it as a form with the one field, not as JSON.
    file = client.containers.files.create(container.id, file_id=stored.id)
    assert (file.path, file.bytes) == ("/mnt/data/numbers.csv", 6)
    at_once = client.containers.create(name="at once", file_ids=[stored.id])
    assert [f.path for f in client.containers.files.list(at_once.id)] == [file.path]


@check
def a_response_is_created_retrieved_and_deleted() -> None:
    response = client.responses.create(
        model="any",
        input=code("print(6 * 7)\n_ = open('made.txt', 'w').write('made')"),
        instructions="Be brief.",
        tools=[AUTO],
        include=OUTPUTS,
    )
    call, message = response.output
    assert (response.status, call.type, message.type) == (
        "completed",
        "code_interpreter_call",
        "message",
    )
    assert call.type == "code_interpreter_call"
    assert call.code is not None
    assert "6 * 7" in call.code
    assert [output.to_dict() for output in call.outputs or ()] == [{"type": "logs", "logs": "42\n"}]
    assert "42" in response.output_text
    assert client.responses.retrieve(response.id, include=OUTPUTS) == response
    items = list(client.responses.input_items.list(response.id, limit=1))
    assert [item.type for item in items] == ["message"]
    client.responses.delete(response.id)
    error = raised_by(lambda: client.responses.retrieve(response.id))
    assert isinstance(error, openai.NotFoundError), error


@check
def a_file_that_code_made_is_cited_and_downloaded() -> None:
    response = client.responses.create(
        model="any", input=code("_ = open('made.txt', 'w').write('made')"), tools=[AUTO]
    )
    message = response.output[-1]
    assert message.type == "message"
    part = message.content[0]
    assert part.type == "output_text"
    (citation,) = part.annotations
    assert citation.type == "container_file_citation"
    assert citation.filename == "made.txt"
    content = client.containers.files.content.retrieve(
        citation.file_id, container_id=citation.container_id
    )
    assert content.read() == b"made"


@check
def a_response_is_streamed() -> None:
    events = list(
        client.responses.create(model="any", input=code("print(1)"), tools=[AUTO], stream=True)
    )
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert "response.code_interpreter_call.completed" in kinds
    written = "".join(
        event.delta for event in events if event.type == "response.code_interpreter_call_code.delta"
    )
    assert "print(1)" in written
    last = events[-1]
    assert last.type == "response.completed"
    again = client.responses.retrieve(last.response.id, stream=True, starting_after=3)
    assert list(again) == events[4:]


@check
def the_stream_helper_understands_us() -> None:
    with client.responses.stream(model="any", input=code("print(5)"), tools=[AUTO]) as stream:
        kinds = {event.type for event in stream}
        response = stream.get_final_response()
    assert "response.output_text.delta" in kinds
    assert "5" in response.output_text


@check
def a_conversation_goes_on_in_its_container() -> None:
    first = client.responses.create(model="any", input=code("x = 41"), tools=[AUTO])
    second = client.responses.create(
        model="any", input=code("print(x + 1)"), tools=[AUTO], previous_response_id=first.id
    )
    assert second.previous_response_id == first.id
    used = [
        item.container_id
        for response in (first, second)
        for item in response.output
        if item.type == "code_interpreter_call"
    ]
    assert len(used) == 2
    assert used[0] == used[1]
    assert "42" in second.output_text


@check
def a_stored_conversation_takes_in_what_was_said() -> None:
    stored = client.conversations.create(
        items=[{"type": "message", "role": "user", "content": "Hello."}], metadata={"k": "v"}
    )
    for source in ("x = 41", "print(x + 1)"):
        response = client.responses.create(
            model="any", input=code(source), tools=[AUTO], include=OUTPUTS, conversation=stored.id
        )
    assert response.conversation is not None
    assert response.conversation.id == stored.id
    items = list(client.conversations.items.list(stored.id, order="asc", limit=2, include=OUTPUTS))
    calls = [item for item in items if item.type == "code_interpreter_call"]
    assert len({call.container_id for call in calls}) == 1
    assert [output.to_dict() for output in calls[-1].outputs or ()] == [
        {"type": "logs", "logs": "42\n"}
    ]
    assert items[-1].id is not None
    client.conversations.items.delete(items[-1].id, conversation_id=stored.id)
    assert len(list(client.conversations.items.list(stored.id))) == len(items) - 1
    assert client.conversations.delete(stored.id).deleted
    error = raised_by(lambda: client.conversations.retrieve(stored.id))
    assert isinstance(error, openai.NotFoundError), error


@check
def an_attached_file_is_read() -> None:
    file = client.files.create(file=("word.txt", b"sanderling"), purpose="user_data")
    content: Any = [
        {"type": "input_text", "text": code("print(open('/mnt/data/word.txt').read())")},
        {"type": "input_file", "file_id": file.id},
    ]
    response = client.responses.create(
        model="any", input=[{"role": "user", "content": content}], tools=[AUTO]
    )
    assert "sanderling" in response.output_text


@check
def models_are_listed_and_retrieved() -> None:
    (model,) = client.models.list()
    assert client.models.retrieve(model.id) == model


@check
def wrong_calls_raise_typed_exceptions() -> None:
    wrong: list[tuple[type[openai.APIStatusError], str | None, Callable[[], object]]] = [
        (openai.NotFoundError, "id", lambda: client.files.retrieve("file-x")),
        (openai.NotFoundError, None, lambda: client.containers.retrieve("cntr_x")),
        (openai.NotFoundError, None, lambda: client.responses.retrieve("resp_x")),
        (
            openai.BadRequestError,
            "purpose",
            lambda: client.files.create(file=b"x", purpose="fun"),  # type: ignore[arg-type]
        ),
        (
            openai.BadRequestError,
            "previous_response_id",
            lambda: client.responses.create(model="m", input="x", previous_response_id="resp_x"),
        ),
        (
            openai.BadRequestError,
            "max_output_tokens",
            lambda: client.responses.create(model="m", input="x", max_output_tokens=1),
        ),
    ]
    for kind, param, call in wrong:
        error = raised_by(call)
        assert type(error) is kind, error
        assert error.request_id is not None
        assert isinstance(error.body, dict)
        assert error.body["message"]
        assert param is None or error.param == param, error.param


def raised_by(call: Callable[[], object]) -> openai.APIStatusError:
    try:
        call()
    except openai.APIStatusError as error:
        return error
    raise AssertionError("nothing was raised")


def main() -> None:
    """Make every check; a check that fails does not keep the others from being made."""
    outcomes: dict[str, str | None] = {}
    for name, function in CHECKS.items():
        try:
            function()
        except Exception:  # noqa: BLE001 (told to whoever started this)
            outcomes[name] = traceback.format_exc()
        else:
            outcomes[name] = None
    json.dump({"version": openai.VERSION, "checks": outcomes}, sys.stdout)


if __name__ == "__main__":
    main()
