"""
Frames of the socket between the server and the sandbox host (docs/protocol.md, section 1).

One call is one connection. A message is a JSON header and a body of bytes; a body longer than one
frame travels in several, with `"more": true` in all but the last. Lengths are read before anything
else and checked before anything is kept, so neither end can be made to hold more than it agreed
to. No behaviour here: `calls.py` and `client.py` say what the messages do.
"""

from __future__ import annotations

import asyncio
import json
import math
import struct
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, field
from typing import Any, Protocol, assert_never, cast, get_args

from sanderling.errors import (
    MachineFull,
    ProtocolBroken,
    RateLimited,
    RequestError,
    SandboxError,
    SanderlingError,
)
from sanderling.kernel.protocol import IMAGE_TYPES
from sanderling.records import ExecutionStatus
from sanderling.sandbox.base import (
    ChangedFile,
    Cleared,
    Ended,
    Error,
    Happening,
    Image,
    Logs,
    Result,
)

VERSION = 3

# Room for every field of every message, escapes included; user bytes go in bodies.
HEADER_BYTES_MAX = 64 << 10
# One chunk of a file, and little enough that a slow reader pins little memory.
BODY_BYTES_MAX = 1 << 20
# Source of one cell. Models write kilobytes; a client may paste a table.
CODE_BYTES_MAX = 4 << 20
# Any happening: an image of 16 MiB (the bound of section 3), or an end with 2,000 long paths.
HAPPENING_BYTES_MAX = 32 << 20

_LENGTHS = struct.Struct(">II")
_STATUSES = frozenset(get_args(ExecutionStatus))


class Reader(Protocol):
    """Where messages are read from: asyncio's, or our own bare `connection.Connection`."""

    async def readexactly(self, count: int, /) -> bytes: ...


class Writer(Protocol):
    """Where messages are written to; likewise."""

    def write(self, data: bytes, /) -> None: ...

    async def drain(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Message:
    """One whole message. The getters raise ProtocolBroken for a field that is missing or wrong."""

    header: dict[str, Any] = field(default_factory=dict)
    body: bytes = b""

    def text(self, name: str) -> str:
        value = self.header.get(name)
        if not isinstance(value, str):
            raise ProtocolBroken(f"The field {name!r} of a message is not text.")
        return value

    def optional_text(self, name: str) -> str | None:
        return None if self.header.get(name) is None else self.text(name)

    def texts(self, name: str) -> tuple[str, ...]:
        values = self.header.get(name)
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise ProtocolBroken(f"The field {name!r} of a message is not a list of texts.")
        return tuple(values)

    def integer(self, name: str) -> int:
        value = self.header.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ProtocolBroken(f"The field {name!r} of a message is not an integer.")
        return value

    def number(self, name: str) -> float:
        value = self.header.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ProtocolBroken(f"The field {name!r} of a message is not a number.")
        if not math.isfinite(value):
            raise ProtocolBroken(f"The field {name!r} of a message is not finite.")
        return float(value)

    def optional_number(self, name: str) -> float | None:
        return None if self.header.get(name) is None else self.number(name)

    def flag(self, name: str) -> bool:
        value = self.header.get(name)
        if not isinstance(value, bool):
            raise ProtocolBroken(f"The field {name!r} of a message is not true or false.")
        return value

    def body_text(self) -> str:
        return self.body.decode("utf-8", "replace")


# ---- frames ------------------------------------------------------------------------------------


def frames(header: dict[str, Any], body: bytes = b"") -> Iterator[bytes]:
    """
    Yield the frames of one message.

    Text that is not valid Unicode (lone surrogates from inside a box) is replaced by `?`.
    """
    last = max(0, len(body) - 1) // BODY_BYTES_MAX
    for number in range(last + 1):
        piece = body[number * BODY_BYTES_MAX : (number + 1) * BODY_BYTES_MAX]
        fields = header if number == last else {**header, "more": True}
        encoded = json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace")
        assert len(encoded) <= HEADER_BYTES_MAX, "a header is too long"
        yield _LENGTHS.pack(len(encoded), len(piece)) + encoded + piece


async def send(writer: Writer, header: dict[str, Any], body: bytes = b"") -> None:
    """Write one message; wait while the other end is slow. Raises ConnectionError."""
    for frame in frames(header, body):
        writer.write(frame)
        await writer.drain()


async def receive(reader: Reader, *, body_bytes_max: int = BODY_BYTES_MAX) -> Message | None:
    """
    Read one message; None when the other end closed between two messages.

    Raises:
        ProtocolBroken: lengths beyond the limits, no JSON object, or an end inside a message.
    """
    body = b""
    while (frame := await _receive_frame(reader, body_bytes_max - len(body))) is not None:
        body = body + frame.body if body else frame.body
        if frame.header.pop("more", False) is not True:
            return Message(frame.header, body)
    if body:
        raise ProtocolBroken("The connection ended inside a message.")
    return None


async def _receive_frame(reader: Reader, body_bytes_max: int) -> Message | None:
    try:
        lengths = await reader.readexactly(_LENGTHS.size)
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        if isinstance(error, asyncio.IncompleteReadError) and error.partial:
            raise ProtocolBroken("The connection ended inside a message.") from error
        return None
    header_bytes, body_bytes = _LENGTHS.unpack(lengths)
    if header_bytes > HEADER_BYTES_MAX or body_bytes > min(BODY_BYTES_MAX, body_bytes_max):
        raise ProtocolBroken("A message is longer than the protocol allows.")
    try:
        header = json.loads(await reader.readexactly(header_bytes))
        body = await reader.readexactly(body_bytes)
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise ProtocolBroken("The connection ended inside a message.") from error
    except (ValueError, RecursionError) as error:
        raise ProtocolBroken("A message does not begin with JSON.") from error
    if not isinstance(header, dict):
        raise ProtocolBroken("A message does not begin with a JSON object.")
    return Message(header, body)


# ---- happenings --------------------------------------------------------------------------------


def happening_parts(sequence: int, happening: Happening) -> tuple[dict[str, Any], bytes]:
    """Return the header and body of `happening`, the `sequence`-th of its execution, from 0."""
    header: dict[str, Any] = {"seq": sequence}
    match happening:
        case Logs(stream, text):
            return {**header, "op": "logs", "stream": stream}, _utf8(text)
        case Result(text):
            return _with_parts({**header, "op": "result"}, happening, _utf8(text))
        case Image(mime, data, name, saved_path):
            header |= {"op": "image", "mime": mime, "name": name, "saved_path": saved_path}
            return _with_parts(header, happening, data)
        case Cleared():
            return {**header, "op": "cleared"}, b""
        case Error(name, message, traceback):
            fields = {"name": name, "message": message, "traceback": traceback}
            return {**header, "op": "error"}, _json(fields)
        case Ended(status, duration_ms, changed, removed, notice, is_fresh):
            header |= {"op": "ended", "status": status, "duration_ms": duration_ms}
            header |= {"notice": notice, "is_fresh": is_fresh}
            files = {"changed": [astuple(c) for c in changed], "removed": removed}
            return header, _json(files)
    assert_never(happening)


def _with_parts(
    header: dict[str, Any], shown: Result | Image, body: bytes
) -> tuple[dict[str, Any], bytes]:
    """Add what few values have: other ways to show them, behind the body, and an identity."""
    if shown.parts:
        parts = [(mime, _utf8(text)) for mime, text in shown.parts]
        header["parts"] = [[mime, len(data)] for mime, data in parts]
        body = b"".join((body, *(data for _, data in parts)))
    if shown.display_id is not None:
        header |= {"display_id": shown.display_id, "is_update": shown.is_update}
    return header, body


def _parts_of(message: Message) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    """Return the body less its parts, and the parts."""
    try:
        sizes = [(str(mime), int(size)) for mime, size in message.header.get("parts", ())]
    except (TypeError, ValueError) as error:
        raise ProtocolBroken("The parts of a value are no list of kinds and sizes.") from error
    start = len(message.body) - sum(size for _, size in sizes)
    if start < 0 or any(size < 0 for _, size in sizes):
        raise ProtocolBroken("A value is shorter than its parts.")
    place = start
    parts = []
    for mime, size in sizes:
        parts.append((mime, message.body[place : place + size].decode("utf-8", "replace")))
        place += size
    return message.body[:start], tuple(parts)


def _identity(message: Message) -> tuple[str | None, bool]:
    if "display_id" not in message.header:
        return None, False
    return message.text("display_id"), message.flag("is_update")


def happening_of(message: Message) -> tuple[int, Happening]:
    """Read a happening and its sequence number back. Raises ProtocolBroken."""
    return message.integer("seq"), _happening(message)


def _happening(message: Message) -> Happening:
    match message.text("op"):
        case "logs":
            stream = message.text("stream")
            if stream not in ("stdout", "stderr"):
                raise ProtocolBroken(f"There is no stream {stream!r}.")
            return Logs(cast("Any", stream), message.body_text())
        case "result":
            body, parts = _parts_of(message)
            return Result(body.decode("utf-8", "replace"), parts, *_identity(message))
        case "cleared":
            return Cleared()
        case "image":
            mime = message.text("mime")
            if mime not in IMAGE_TYPES:
                raise ProtocolBroken(f"There is no image type {mime!r}.")
            place = message.text("name"), message.optional_text("saved_path")
            body, parts = _parts_of(message)
            return Image(cast("Any", mime), body, *place, parts, *_identity(message))
        case "error":
            fields = _body_fields(message)
            return Error(fields.text("name"), fields.text("message"), fields.text("traceback"))
        case "ended":
            return _ended(message)
        case op:
            raise ProtocolBroken(f"There is no happening {op!r}.")


def _ended(message: Message) -> Ended:
    status = message.text("status")
    if status not in _STATUSES:
        raise ProtocolBroken(f"There is no status {status!r}.")
    files = _body_fields(message).header
    try:
        changed = _files(files["changed"])
        removed = tuple(str(path) for path in files["removed"])
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolBroken("The end of an execution has no list of files.") from error
    return Ended(
        status=cast("ExecutionStatus", status),
        duration_ms=message.number("duration_ms"),
        changed=changed,
        removed=removed,
        notice=message.optional_text("notice"),
        is_fresh=message.flag("is_fresh"),
    )


def _files(rows: Iterable[tuple[object, Any, object]]) -> tuple[ChangedFile, ...]:
    """Raises TypeError, ValueError."""
    return tuple(
        ChangedFile(str(path), int(size), None if moved_from is None else str(moved_from))
        for path, size, moved_from in rows
    )


# ---- lists -------------------------------------------------------------------------------------


def files_body(files: Iterable[ChangedFile]) -> bytes:
    """Return the body of an answer that lists files."""
    return _json({"files": [astuple(file) for file in files]})


def files_of(message: Message) -> list[ChangedFile]:
    """Read `files_body` back. Raises ProtocolBroken."""
    try:
        return list(_files(_body_fields(message).header["files"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolBroken("The answer has no list of files.") from error


def ids_body(ids: Iterable[str]) -> bytes:
    """Return the body of an answer that lists ids."""
    return _json({"ids": list(ids)})


def ids_of(message: Message) -> list[str]:
    """Read `ids_body` back. Raises ProtocolBroken."""
    ids = _body_fields(message).header.get("ids")
    if not isinstance(ids, list) or not all(isinstance(found, str) for found in ids):
        raise ProtocolBroken("The answer has no list of ids.")
    return ids


def _body_fields(message: Message) -> Message:
    try:
        fields = json.loads(message.body)
    except ValueError as error:
        raise ProtocolBroken("The body of a message is not JSON.") from error
    if not isinstance(fields, dict):
        raise ProtocolBroken("The body of a message is not a JSON object.")
    return Message(fields)


def _json(fields: dict[str, Any]) -> bytes:
    # Not as ASCII, which makes some texts three times as long as they are.
    return _utf8(json.dumps(fields, ensure_ascii=False))


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")


# ---- errors ------------------------------------------------------------------------------------


def error_header(error: SanderlingError) -> dict[str, Any]:
    """Return the header that carries `error` to the other end."""
    header: dict[str, Any] = {"error": type(error).__name__, "message": error.message}
    match error:
        case RateLimited() | MachineFull():
            header["retry_after_s"] = error.retry_after_s
        case RequestError():
            header |= {"param": error.param, "code": error.code}
        case _:
            pass
    return header


def raise_if_error(message: Message) -> Message:
    """Raise the error that `message` carries as the class it was; return it if it carries none."""
    if "error" not in message.header:
        return message
    kind = _classes().get(message.text("error"), SandboxError)
    said = message.text("message")
    if issubclass(kind, RateLimited | MachineFull):
        raise kind(said, retry_after_s=message.number("retry_after_s"))
    if issubclass(kind, RequestError):
        raise kind(said, param=message.optional_text("param"), code=message.optional_text("code"))
    raise kind(said)


def _classes(root: type[SanderlingError] = SanderlingError) -> dict[str, type[SanderlingError]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found |= _classes(child)
    return found
