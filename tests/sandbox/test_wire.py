from __future__ import annotations

import asyncio
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanderling import errors
from sanderling.errors import (
    Conflict,
    InvalidRequest,
    MachineFull,
    NotFound,
    ProtocolBroken,
    RateLimited,
    SandboxError,
    SanderlingError,
    SpawnFailed,
)
from sanderling.sandbox import wire
from sanderling.sandbox.base import ChangedFile, Ended, Error, Happening, Image, Logs, Result
from sanderling.sandbox.box import TRACEBACK_BYTES_MAX
from sanderling.sandbox.box_files import PATH_BYTES_MAX
from sanderling.sandbox.snapshots import FILES_MAX
from sanderling.sandbox.wire import Message


def reader_of(data: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


async def through_the_wire(happening: Happening, sequence: int = 0) -> tuple[int, Happening]:
    data = b"".join(wire.frames(*wire.happening_parts(sequence, happening)))
    message = await wire.receive(reader_of(data), body_bytes_max=wire.HAPPENING_BYTES_MAX)
    assert message is not None
    return wire.happening_of(message)


HAPPENINGS: list[Happening] = [
    Logs("stdout", "hällo\n\x00\u202e"),
    Logs("stderr", ""),
    Result("42"),
    Image("image/png", bytes(range(256)) * 9000, "figure_1.png", "/mnt/data/a.png"),
    Image("image/svg+xml", b"<svg/>", "x", None),
    Error("ValueError", "\x00" * 8000, "Traceback\n" * 100_000),
    Ended("ok", 1.5, (), (), None, is_fresh=False),
    Ended(
        "timed_out",
        60_001.25,
        tuple(ChangedFile(f"/mnt/data/{'ü' * 1000}{n}", n) for n in range(2000)),
        ("/mnt/data/gone",),
        "The code ran longer than 60 s and was stopped.",
        is_fresh=True,
    ),
]


@pytest.mark.parametrize("happening", HAPPENINGS, ids=lambda h: type(h).__name__)
async def test_every_happening_arrives_as_it_was_sent(happening: Happening):
    assert await through_the_wire(happening, 7) == (7, happening)


@given(st.text(), st.sampled_from(["stdout", "stderr"]))
def test_any_text_arrives_with_only_lone_surrogates_replaced(text: str, stream):
    _, arrived = asyncio.run(through_the_wire(Logs(stream, text)))

    assert arrived == Logs(stream, text.encode("utf-8", "replace").decode())


async def test_a_lone_surrogate_in_a_header_does_not_break_the_connection():
    _, arrived = await through_the_wire(Image("image/png", b"", "\ud800.png", None))

    assert arrived == Image("image/png", b"", "?.png", None)


async def test_a_body_longer_than_a_frame_arrives_whole():
    body = bytes(range(256)) * 20_000
    frames = list(wire.frames({"op": "x"}, body))
    message = await wire.receive(reader_of(b"".join(frames)), body_bytes_max=len(body))

    assert len(frames) == 5
    assert message == Message({"op": "x"}, body)


async def test_a_body_beyond_what_the_receiver_takes_is_refused():
    data = b"".join(wire.frames({}, bytes(wire.BODY_BYTES_MAX + 1)))
    with pytest.raises(ProtocolBroken):
        await wire.receive(reader_of(data), body_bytes_max=wire.BODY_BYTES_MAX)


@pytest.mark.parametrize(
    "lengths",
    [(wire.HEADER_BYTES_MAX + 1, 0), (2, wire.BODY_BYTES_MAX + 1), (0xFFFFFFFF, 0xFFFFFFFF)],
)
async def test_lengths_beyond_the_limits_are_refused_before_anything_is_read(lengths):
    reader = asyncio.StreamReader()  # nothing follows, and nothing is waited for
    reader.feed_data(struct.pack(">II", *lengths))
    with pytest.raises(ProtocolBroken):
        await wire.receive(reader)


@pytest.mark.parametrize("header", [b"", b"[]", b"null", b"{", b"\xff\xfe", b'{"a":}'])
async def test_a_header_that_is_no_json_object_is_refused(header: bytes):
    with pytest.raises(ProtocolBroken):
        await wire.receive(reader_of(struct.pack(">II", len(header), 0) + header))


async def test_a_clean_end_is_none_and_an_end_inside_a_message_is_refused():
    whole = b"".join(wire.frames({"op": "x"}, b"body"))

    assert await wire.receive(reader_of(b"")) is None
    for length in range(1, len(whole)):
        with pytest.raises(ProtocolBroken):
            await wire.receive(reader_of(whole[:length]))


async def test_an_end_between_the_frames_of_one_message_is_refused():
    first, _ = wire.frames({"op": "x"}, bytes(wire.BODY_BYTES_MAX + 1))
    with pytest.raises(ProtocolBroken):
        await wire.receive(reader_of(first), body_bytes_max=2 * wire.BODY_BYTES_MAX)


@pytest.mark.parametrize(
    "message",
    [
        Message({"seq": 0}),
        Message({"seq": "0", "op": "result"}),
        Message({"seq": 0, "op": "nonsense"}),
        Message({"seq": 0, "op": "logs", "stream": "stdin"}),
        Message({"seq": 0, "op": "image", "mime": "text/html", "name": "x", "saved_path": None}),
        Message({"seq": 0, "op": "error"}, b"[]"),
        Message({"seq": 0, "op": "ended", "status": "fine"}, b"{}"),
        Message(
            {"seq": 0, "op": "ended", "status": "ok", "duration_ms": 1, "is_fresh": False}, b"{}"
        ),
    ],
)
def test_a_happening_that_is_none_is_refused(message: Message):
    with pytest.raises(ProtocolBroken):
        wire.happening_of(message)


@pytest.mark.parametrize("value", [None, True, "1", float("nan"), float("inf")])
def test_a_field_of_the_wrong_type_is_refused(value):
    with pytest.raises(ProtocolBroken):
        Message({"n": value}).number("n")


def every_error(root: type[SanderlingError] = SanderlingError) -> list[type[SanderlingError]]:
    return [root, *(found for child in root.__subclasses__() for found in every_error(child))]


@pytest.mark.parametrize("kind", [e for e in every_error() if e.__module__ == errors.__name__])
def test_every_error_is_raised_as_the_class_it_was(kind: type[SanderlingError]):
    with pytest.raises(kind, match="said so") as caught:
        wire.raise_if_error(Message(wire.error_header(kind("said so"))))

    assert type(caught.value) is kind


def test_errors_keep_what_they_carry():
    for error in (InvalidRequest("no", param="path", code="bad"), NotFound("no"), Conflict("no")):
        with pytest.raises(type(error)) as caught:
            wire.raise_if_error(Message(wire.error_header(error)))
        assert (caught.value.param, caught.value.code) == (error.param, error.code)
    for late in (MachineFull("full", retry_after_s=9.5), RateLimited("slow", retry_after_s=9.5)):
        with pytest.raises(type(late)) as caught_late:
            wire.raise_if_error(Message(wire.error_header(late)))
        assert caught_late.value.retry_after_s == 9.5


def test_an_unknown_error_is_a_sandbox_error_and_no_error_is_no_error():
    with pytest.raises(SandboxError, match="odd"):
        wire.raise_if_error(Message({"error": "SystemExit", "message": "odd"}))
    assert not isinstance(SandboxError("x"), SpawnFailed)
    assert wire.raise_if_error(Message({"is_new": True})).flag("is_new")


@pytest.mark.parametrize(
    "happening",
    [
        Error("E", "x" * 8000, "\x01" * TRACEBACK_BYTES_MAX),
        Ended(
            "ok",
            1.0,
            tuple(ChangedFile("\U0001f600" * (PATH_BYTES_MAX // 4), 1) for _ in range(FILES_MAX)),
            ("\u00e9" * (PATH_BYTES_MAX // 2),) * FILES_MAX,
            notice=None,
            is_fresh=False,
        ),
    ],
    ids=["error", "ended"],
)
def test_the_longest_happening_fits(happening: Happening):
    _, body = wire.happening_parts(0, happening)

    assert len(body) <= wire.HAPPENING_BYTES_MAX
