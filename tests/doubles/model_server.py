"""
A real HTTP server that speaks chat completions and misbehaves the way real ones do.

In a test:

    async with ModelServer([Turn(code="2 + 2"), Turn(text="4")]) as server:
        ...  # server.base_url, server.requests

On its own, for a server started as another process (prints its base URL, runs until killed):

    python -m tests.doubles.model_server --port 0 script.json

where script.json is a list of turns as objects: `[{"code": "2 + 2"}, {"text": "4"}]`.

A request with the same messages as the one before, after a turn that went wrong on purpose, is a
repetition and gets the same turn again; any other request gets the next turn. Faults of streaming
leave the plain reply right, as they do with the servers they were seen at; `always` spreads them.
The socket is written by hand because half the faults are things no web framework lets one do.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self


def _first(arguments: dict[str, Any]) -> str:
    return str(next(iter(arguments.values())))


# Faults in how a call's arguments are written: the right object -> what is sent instead.
ARGUMENT_FAULTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "dict_arguments": lambda arguments: arguments,
    "json_twice": lambda arguments: json.dumps(arguments) * 2,
    "json_string": lambda arguments: json.dumps(json.dumps(arguments)),
    "python_literal": repr,
    "fenced": lambda arguments: f"```python\n{_first(arguments)}\n```",
    "raw_code": _first,
    "empty_arguments": lambda arguments: "",
    "null_arguments": lambda arguments: None,
    "damaged_arguments": lambda arguments: json.dumps(arguments)[1:-4] + "}}",
    "cut_arguments": lambda arguments: json.dumps(arguments)[:-4],
}
# Faults in the frames around them.
FRAME_FAULTS = frozenset(
    {
        "missing_index",
        "missing_id",
        "same_index",
        "name_in_every_chunk",
        "new_id_in_every_chunk",
        "cumulative",
        "one_delta",
        "finish_stop",
        "no_usage",
        "lost_call",
        "truncated",
        "dropped",
        "error_in_stream",
        "garbage",
        "not_streaming",
        "html",
        "hang",
        "hang_midway",
        "slow",
        "no_stream_options",
        "no_max_tokens",
        "no_tools",
        "no_formats",
        "no_schemas",
    }
)
# These go wrong in a way that makes a client ask again.
_REPEATED = frozenset(
    {"empty_arguments", "null_arguments", "damaged_arguments", "cut_arguments", "lost_call"}
    | {"truncated", "dropped", "error_in_stream", "garbage", "not_streaming", "html"}
    | {"no_stream_options", "no_max_tokens", "no_tools", "no_formats", "no_schemas"}
)


@dataclass(frozen=True)
class Turn:
    """
    One answer of the model.

    code, calls, text: `text` comes before the calls. A call is {"name", "arguments"}; `code` is
        short for one call of the python tool.
    reasoning: sent as `reasoning_content`.
    faults: names out of ARGUMENT_FAULTS and FRAME_FAULTS.
    always: the faults concern the plain reply too.
    status: an HTTP error instead of an answer, with `error` as its message, `times` times.
    piece_chars: characters in one delta.
    finish: the finish reason, where it is not the one that fits.
    """

    text: str = ""
    code: str | None = None
    calls: tuple[dict[str, Any], ...] = ()
    reasoning: str = ""
    faults: tuple[str, ...] = ()
    always: bool = False
    status: int = 200
    error: str = "The model server was told to refuse."
    times: int = 1_000_000
    piece_chars: int = 5
    finish: str | None = None
    delay_s: float = 0.0

    def __post_init__(self) -> None:
        unknown = set(self.faults) - FRAME_FAULTS - set(ARGUMENT_FAULTS)
        assert not unknown, f"unknown faults: {unknown}"

    @staticmethod
    def of(value: dict[str, Any]) -> Turn:
        """Return the turn an object of a script stands for."""
        known = {field.name for field in fields(Turn)}
        assert set(value) <= known, f"unknown keys: {set(value) - known}"
        given: dict[str, Any] = {
            key: tuple(item) if isinstance(item, list) else item for key, item in value.items()
        }
        return Turn(**given)

    @property
    def all_calls(self) -> list[dict[str, Any]]:
        own = [] if self.code is None else [{"name": "python", "arguments": {"code": self.code}}]
        return [*own, *self.calls]

    def has(self, fault: str, *, streaming: bool = True) -> bool:
        return fault in self.faults and (streaming or self.always)


class ModelServer:
    """
    Plays `turns` to whoever asks; with `repeats` from the beginning again after the last.

    Attributes:
        base_url: with `/v1`, as a client wants it.
        requests: the JSON bodies of all chat completions asked for, oldest first.
        headers: the headers of the same requests, names in lower case.
        client_left: set when a client left before the end of an answer.
    """

    def __init__(
        self,
        turns: Sequence[Turn],
        *,
        repeats: bool = False,
        port: int = 0,
        models: Sequence[str] = ("scripted-model",),
    ) -> None:
        self._turns: Iterator[Turn] = itertools.cycle(turns) if repeats else iter(turns)
        self._turn: Turn | None = None
        self._asked = 0  # how often the current turn was asked for
        self._port = port
        self._models = models
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.client_left = asyncio.Event()

    @property
    def base_url(self) -> str:
        assert self._server is not None, "not started"
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    # ---- HTTP ----------------------------------------------------------------------------------

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._serve_one(reader, writer):
                    pass
        except asyncio.CancelledError:
            pass  # the server is being closed
        finally:
            self._open.discard(task)
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether the connection may be used again."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request_line, *lines = head.split("\r\n")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        method, path, _ = request_line.split(" ", 2)
        match method, path:
            case "GET", "/v1/models":
                listing = [{"id": name, "object": "model"} for name in self._models]
                _write_json(writer, 200, {"object": "list", "data": listing})
            case "POST", "/v1/chat/completions":
                self.headers.append(headers)
                return await self._complete(json.loads(body), reader, writer)
            case _:
                _write_json(writer, 404, _error(f"Nothing at {path}.", "not_found"))
        await writer.drain()
        return True

    async def _complete(
        self,
        request: dict[str, Any],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        turn = self._next_turn(request)
        if turn is None:
            _write_json(writer, 500, _error("The script is over.", "script_over"))
            await writer.drain()
            return True
        await asyncio.sleep(turn.delay_s)
        streaming = bool(request.get("stream"))
        if (refusal := self._refusal(turn, request)) is not None:
            status, message = refusal
            headers = {"retry-after-ms": "1"} if status in (429, 500, 503) else {}
            _write_json(writer, status, _error(message, "refused"), headers)
        elif turn.has("html", streaming=streaming):
            _write(writer, 200, "text/html", b"<html><body>Welcome to nginx!</body></html>")
        elif turn.has("hang", streaming=streaming):
            await reader.read()  # until the client gives up
            self.client_left.set()
            return False
        elif streaming and not turn.has("not_streaming"):
            return await self._stream(turn, request, reader, writer)
        else:
            _write_json(writer, 200, _reply(turn, request))
        await writer.drain()
        return True

    def _next_turn(self, request: dict[str, Any]) -> Turn | None:
        last = self.requests[-1] if self.requests else None
        self.requests.append(request)
        is_repetition = (
            self._turn is not None
            and last is not None
            and _questions(last) == _questions(request)
            and (bool(_REPEATED & set(self._turn.faults)) or self._turn.status != 200)
        )
        if is_repetition:
            self._asked += 1
        else:
            self._turn = next(self._turns, None)
            self._asked = 1
        return self._turn

    def _refusal(self, turn: Turn, request: dict[str, Any]) -> tuple[int, str] | None:
        if turn.status != 200 and self._asked <= turn.times:
            return turn.status, turn.error
        if turn.has("no_stream_options") and "stream_options" in request:
            return 400, "Unrecognized request argument supplied: stream_options"
        wanted = request.get("response_format", {}).get("type")
        if turn.has("no_formats" if wanted == "json_object" else "no_schemas") and wanted:
            return 400, f"response_format: {wanted} is not supported by this model"
        if turn.has("no_tools") and "tools" in request:
            return 400, f"{request['model']} does not support tools"
        if turn.has("no_max_tokens") and "max_tokens" in request:
            return 400, (
                "Unsupported parameter: 'max_tokens' is not supported with this model. "
                "Use 'max_completion_tokens' instead."
            )
        return None

    async def _stream(
        self,
        turn: Turn,
        request: dict[str, Any],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        left = asyncio.create_task(reader.read(1))
        try:
            async for frame in _paced(turn, _frames(turn, request)):
                if left.done():
                    self.client_left.set()
                    return False
                _write_chunk(writer, b"data: " + frame + b"\n\n")
                await writer.drain()
            if turn.has("hang_midway"):
                await left
                self.client_left.set()
                return False
            if turn.has("dropped"):
                writer.transport.abort()
                return False
            if not turn.has("truncated"):
                _write_chunk(writer, b"data: [DONE]\n\n")
            writer.write(b"0\r\n\r\n")
            await writer.drain()
            return False
        finally:
            left.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await left


def _questions(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the messages by which a repetition is known; a client may reword the system's."""
    return [message for message in request["messages"] if message["role"] != "system"]


# ---- what is said ------------------------------------------------------------------------------


def _reply(turn: Turn, request: dict[str, Any]) -> dict[str, Any]:
    calls = [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {
                "name": call["name"],
                "arguments": _arguments(turn, call["arguments"], streaming=False),
            },
        }
        for number, call in enumerate(turn.all_calls)
    ]
    message: dict[str, Any] = {"role": "assistant", "content": turn.text or None}
    if calls and not turn.has("lost_call", streaming=False):
        message["tool_calls"] = calls
    if turn.reasoning:
        message["reasoning_content"] = turn.reasoning
    finish = turn.finish or ("tool_calls" if calls else "stop")
    reply = _envelope(request, [{"index": 0, "message": message, "finish_reason": finish}])
    return {**reply, "object": "chat.completion", "usage": _USAGE}


def _frames(turn: Turn, request: dict[str, Any]) -> Iterator[bytes]:
    """Yield the `data:` of every frame of the streamed answer, faults included."""
    deltas = [
        {"role": "assistant", "content": ""},
        *({"reasoning_content": piece} for piece in _pieces(turn, turn.reasoning)),
        *({"content": piece} for piece in _pieces(turn, turn.text)),
    ]
    if not turn.has("lost_call"):
        deltas += _call_deltas(turn)
    if breaks := {"truncated", "dropped", "error_in_stream", "garbage", "hang_midway"} & set(
        turn.faults
    ):
        # The last deltas never come, so that it is in the middle of something.
        deltas = deltas[: max(2, len(deltas) - 2)]
    for delta in deltas:
        yield _chunk(request, delta)
    if breaks:
        if "error_in_stream" in breaks:
            yield json.dumps(_error("The grammar does not match the output.", "broken")).encode()
        elif "garbage" in breaks:
            yield b'{"choices": [{"delta"'
        return
    fitting = "stop" if not turn.all_calls or turn.has("finish_stop") else "tool_calls"
    yield _chunk(request, {}, finish=turn.finish or fitting)
    asks = (request.get("stream_options") or {}).get("include_usage")
    if asks and not turn.has("no_usage"):
        yield json.dumps({**_envelope(request, []), "usage": _USAGE}).encode()


def _call_deltas(turn: Turn) -> list[dict[str, Any]]:
    fragments: list[dict[str, Any]] = []
    for index, call in enumerate(turn.all_calls):
        arguments = _arguments(turn, call["arguments"], streaming=True)
        texts = _pieces(turn, arguments) if isinstance(arguments, str) else [arguments]
        if turn.has("cumulative"):
            texts = ["".join(texts[: end + 1]) for end in range(len(texts))]
        for position, text in enumerate(texts or [""]):
            first = position == 0
            fragment: dict[str, Any] = {"index": index, "function": {"arguments": text}}
            if first or turn.has("name_in_every_chunk"):
                fragment["function"]["name"] = call["name"]
            if first:
                fragment |= {"id": f"call_{index}", "type": "function"}
            if turn.has("new_id_in_every_chunk"):
                fragment["id"] = f"call_{index}_{position}"
            if turn.has("missing_id"):
                fragment.pop("id", None)
            if turn.has("missing_index"):
                del fragment["index"]
            if turn.has("same_index"):
                fragment["index"] = 0
            fragments.append(fragment)
    if turn.has("one_delta"):
        return [{"tool_calls": fragments}]
    return [{"tool_calls": [fragment]} for fragment in fragments]


def _arguments(turn: Turn, arguments: dict[str, Any], *, streaming: bool) -> Any:
    for fault, spoil in ARGUMENT_FAULTS.items():
        if turn.has(fault, streaming=streaming):
            return spoil(arguments)
    return json.dumps(arguments)


def _pieces(turn: Turn, text: str) -> list[str]:
    size = len(text) or 1 if turn.has("one_delta") else turn.piece_chars
    return [text[start : start + size] for start in range(0, len(text), size)]


_USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 10,
    "total_tokens": 30,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 3},
}


def _envelope(request: dict[str, Any], choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": request["model"],
        "choices": choices,
    }


def _chunk(request: dict[str, Any], delta: dict[str, Any], *, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return json.dumps(_envelope(request, [choice])).encode()


async def _paced(turn: Turn, frames: Iterator[bytes]) -> AsyncIterator[bytes]:
    for frame in frames:
        if turn.has("slow"):
            await asyncio.sleep(0.02)
        yield frame


# ---- writing HTTP ------------------------------------------------------------------------------


def _error(message: str, code: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "server_error", "code": code, "param": None}}


def _write_json(
    writer: asyncio.StreamWriter, status: int, value: object, headers: dict[str, str] | None = None
) -> None:
    _write(writer, status, "application/json", json.dumps(value).encode(), headers)


def _write(
    writer: asyncio.StreamWriter,
    status: int,
    content_type: str,
    body: bytes,
    headers: dict[str, str] | None = None,
) -> None:
    lines = {"content-type": content_type, "content-length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    writer.write(f"HTTP/1.1 {status} Scripted\r\n{head}\r\n".encode() + body)


def _write_chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


async def _serve(turns: list[Turn], port: int, repeats: bool) -> None:
    async with ModelServer(turns, repeats=repeats, port=port) as server:
        sys.stdout.write(server.base_url + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def main() -> None:
    """Serve a script until killed."""
    parser = argparse.ArgumentParser(description="A chat-completions server that plays a script.")
    parser.add_argument("script", type=Path, help="JSON: a list of turns")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--repeat", action="store_true", help="begin again after the last turn")
    options = parser.parse_args()
    turns = [Turn.of(value) for value in json.loads(options.script.read_text())]
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(turns, options.port, options.repeat))


if __name__ == "__main__":
    main()
