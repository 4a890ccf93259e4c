"""
Frames of the socket between the sandbox host and a kernel (docs/protocol.md, section 3).

Pure: values in, messages out, and back; both ends use it. An assembler holds what it receives
against the table of what that end may send, and keeps little of it: the host reads what the user's
code may have forged.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MESSAGE_BYTES_MAX = 65536  # a quarter of what Linux lets wait in a socket: no sender blocks for one
VALUE_BYTES_MAX = 16 << 20
NAME_CHARS_MAX = 200
PATH_CHARS_MAX = 4096  # PATH_MAX of Linux
# As JSON a character takes at most six bytes, so that an `error` header fits into one message.
ERROR_MESSAGE_CHARS_MAX = 8000
BODY_ROOM_BYTES_MIN = 4096  # what every header must leave for the body

IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml"})
STREAMS = ("stdout", "stderr")
STATUSES = ("ok", "error", "interrupted")

Check = Callable[[object], bool]

_MORE = b',"more":true'  # what a header has that is not a value's last

# Taken now: the kernel goes on using them after user code may have put others in their place.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_decode = json.JSONDecoder().decode


class FrameError(ValueError):
    """The other end sent something that is not a frame of the protocol."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole value. `header` has been checked; do not change it."""

    header: Mapping[str, Any]
    body: bytes


@dataclass(frozen=True, slots=True)
class Shape:
    """What the header of one op holds beside `op`, and whether a body may follow."""

    fields: Mapping[str, Check]
    has_body: bool = False


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_count_or_null(value: object) -> bool:
    return value is None or _is_count(value)


def _is_nonce(value: object) -> bool:
    return isinstance(value, str) and len(value) == 32 and set(value) <= set("0123456789abcdef")


def _text(chars_max: int) -> Check:
    def is_text(value: object) -> bool:
        return isinstance(value, str) and len(value) <= chars_max and is_clean(value)

    return is_text


def _text_or_null(chars_max: int) -> Check:
    is_text = _text(chars_max)
    return lambda value: value is None or is_text(value)


def _one_of(values: tuple[str, ...] | frozenset[str]) -> Check:
    return lambda value: isinstance(value, str) and value in values


FROM_KERNEL: Mapping[str, Shape] = {
    "ready": Shape({"python": _text(NAME_CHARS_MAX), "pid": _is_count}),
    "configured": Shape({}),
    "logs": Shape({"nonce": _is_nonce, "stream": _one_of(STREAMS)}, has_body=True),
    "result": Shape({"nonce": _is_nonce}, has_body=True),
    "image": Shape(
        {
            "nonce": _is_nonce,
            "mime": _one_of(IMAGE_TYPES),
            "name": _text(NAME_CHARS_MAX),
            "saved_path": _text_or_null(PATH_CHARS_MAX),
        },
        has_body=True,
    ),
    "error": Shape(
        {
            "nonce": _is_nonce,
            "name": _text(NAME_CHARS_MAX),
            "message": _text(ERROR_MESSAGE_CHARS_MAX),
        },
        has_body=True,
    ),
    "done": Shape({"nonce": _is_nonce, "status": _one_of(STATUSES)}),
}

FROM_HOST: Mapping[str, Shape] = {
    "configure": Shape(
        {
            "memory_bytes": _is_count_or_null,
            "cpu_count": _is_count_or_null,
            "proxy": _text_or_null(NAME_CHARS_MAX),
        }
    ),
    "pipes": Shape({}),
    "execute": Shape({"cell": _is_count, "nonce": _is_nonce}, has_body=True),
}


def is_clean(text: str) -> bool:
    """Whether `text` can be written as UTF-8, which a lone surrogate cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def clean(text: str, chars_max: int | None = None) -> str:
    """Return `text` with lone surrogates written as escapes, cut to `chars_max` characters."""
    if not is_clean(text):
        text = text.encode("utf-8", "backslashreplace").decode()
    return text if chars_max is None or len(text) <= chars_max else text[: chars_max - 1] + "…"


def prefix(header: Mapping[str, Any]) -> bytes:
    """Return the header of a message as bytes, its LF included."""
    return _encode(header).encode() + b"\n"


def split(header: Mapping[str, Any], body: bytes = b"") -> Iterator[bytes]:
    """
    Yield the messages that carry one value.

    Raises:
        FrameError: the header leaves no room for a body, or the body is longer than a value may be.
    """
    if len(body) > VALUE_BYTES_MAX:
        raise FrameError(f"A value of {len(body):,} bytes is longer than {VALUE_BYTES_MAX:,}.")
    last = prefix(header)
    room = MESSAGE_BYTES_MAX - len(last) - len(_MORE)
    if room < BODY_ROOM_BYTES_MIN:
        raise FrameError(f"A header of {len(last):,} bytes does not fit into a message.")
    if len(body) <= room:
        yield last + body
        return
    not_last = last[:-2] + _MORE + last[-2:]
    start = 0
    while len(body) - start > room:
        yield not_last + body[start : start + room]
        start += room
    yield last + body[start:]


# What nearly all messages of a cell begin with: as bytes with room for the nonce, and taken apart.
_COMMON = tuple(
    (prefix({"op": op, "nonce": "%b", **fields})[:-1], op, fields)
    for op, fields in (
        ("logs", {"stream": "stdout"}),
        ("logs", {"stream": "stderr"}),
        ("result", dict[str, str]()),
        ("done", {"status": "ok"}),
        ("done", {"status": "error"}),
    )
)


class Assembler:
    """Turns the messages of one direction of one socket back into values."""

    def __init__(self, shapes: Mapping[str, Shape] = FROM_KERNEL) -> None:
        self._shapes = shapes
        # Headers known before they arrive, and the last one that was not: looked at once.
        self._known: Mapping[bytes, dict[str, Any]] = {}
        self._raw: bytes | None = None
        self._header: dict[str, Any] = {}
        self._is_last = True
        self._unfinished: dict[str, Any] | None = None
        self._body = bytearray()  # one piece of memory, however small the parts

    def expect(self, nonce: str) -> None:
        """Know the headers that most messages of the cell with this nonce will have."""
        self._known = {
            template % nonce.encode(): {"op": op, "nonce": nonce, **fields}
            for template, op, fields in _COMMON
        }

    def feed(self, data: bytes) -> Frame | None:
        """
        Take one message; return the value it completes, if it does.

        Raises:
            FrameError: it breaks the protocol; nothing more should be read from this socket.
        """
        if len(data) > MESSAGE_BYTES_MAX:
            raise FrameError(f"A message is longer than {MESSAGE_BYTES_MAX:,} bytes.")
        raw, line_end, body = data.partition(b"\n")
        if not line_end:
            raise FrameError("A message has no header line.")
        if raw != self._raw:
            known = self._known.get(raw)
            self._header, self._is_last = self._parse(raw) if known is None else (known, True)
            self._raw = raw
        if body and not self._shapes[self._header["op"]].has_body:
            raise FrameError(f"`{self._header['op']}` has no body.")
        if self._unfinished is not None:
            if self._unfinished == self._header:
                return self._continue(body)
            self.drop_unfinished()
        if self._is_last:
            return Frame(self._header, body)
        self._unfinished = self._header
        return self._continue(body)

    def _continue(self, body: bytes) -> Frame | None:
        if len(self._body) + len(body) > VALUE_BYTES_MAX:
            self.drop_unfinished()
            raise FrameError(f"A value is longer than {VALUE_BYTES_MAX:,} bytes.")
        self._body += body
        if not self._is_last:
            return None
        whole = bytes(self._body)
        self.drop_unfinished()
        return Frame(self._header, whole)

    def drop_unfinished(self) -> None:
        """Let go of a value whose last message has not come; the rest of it counts as another."""
        self._unfinished = None
        self._body = bytearray()

    def _parse(self, raw: bytes) -> tuple[dict[str, Any], bool]:
        """Return the checked header without `more`, and whether it is a value's last message."""
        try:
            header = _decode(raw.decode())
        # RecursionError: brackets inside brackets, as deep as a message is long.
        except (ValueError, RecursionError) as error:
            raise FrameError("A header is not JSON.") from error
        if not isinstance(header, dict):
            raise FrameError("A header is not a JSON object.")
        op = header.get("op")
        shape = self._shapes.get(op) if isinstance(op, str) else None
        if shape is None:
            raise FrameError("A header has an unknown op.")
        has_more = header.pop("more", False)
        if not isinstance(has_more, bool) or (has_more and not shape.has_body):
            raise FrameError(f"`more` of `{op}` is wrong.")
        if header.keys() != {"op", *shape.fields}:
            raise FrameError(f"`{op}` has other fields than it should.")
        for name, is_right in shape.fields.items():
            if not is_right(header[name]):
                raise FrameError(f"`{name}` of `{op}` is wrong.")
        return header, not has_more
