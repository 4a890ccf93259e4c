"""Frames: what is sent is what arrives, and what is malformed is refused."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sanderling.kernel import protocol
from sanderling.kernel.protocol import Assembler, Frame, FrameError

NONCE = "0123456789abcdef" * 2

SHOWN: dict[str, Any] = {
    "parts": [["text/html", 3], ["application/vnd.plotly.v1+json", 2]],
    "display_id": "one",
    "is_update": True,
}
IMAGE: dict[str, Any] = {
    "mime": "image/png",
    "name": "a.png",
    "saved_path": None,
    "parts": [],
    "display_id": None,
    "is_update": False,
}

FROM_KERNEL: list[dict[str, Any]] = [
    {"op": "ready", "python": "3.11.2", "pid": 1},
    {"op": "configured"},
    {"op": "logs", "nonce": NONCE, "stream": "stdout"},
    {"op": "result", "nonce": NONCE},
    {"op": "display", "nonce": NONCE, **SHOWN},
    {"op": "image", "nonce": NONCE, **IMAGE},
    {"op": "image", "nonce": NONCE, **IMAGE, "name": "é", "saved_path": "/mnt/data/é"},
    {"op": "clear", "nonce": NONCE},
    {"op": "error", "nonce": NONCE, "name": "ValueError", "message": "no"},
    {"op": "done", "nonce": NONCE, "status": "ok"},
]
FROM_HOST: list[dict[str, Any]] = [
    {"op": "configure", "memory_bytes": 1 << 30, "cpu_count": None, "proxy": None},
    {"op": "configure", "memory_bytes": None, "cpu_count": 2, "proxy": "http://127.0.0.1:3128"},
    {"op": "execute", "cell": 1, "nonce": NONCE},
]
BODIES = ("logs", "result", "display", "image", "error", "execute")


def feed_all(assembler: Assembler, header: dict[str, Any], body: bytes = b"") -> list[Frame | None]:
    return [assembler.feed(message) for message in protocol.split(header, body)]


def message(header: object, body: bytes = b"") -> bytes:
    return json.dumps(header).encode() + b"\n" + body


@pytest.mark.parametrize("header", FROM_KERNEL, ids=lambda h: h["op"])
def test_every_message_of_the_kernel_arrives_as_it_was_sent(header: dict[str, Any]) -> None:
    body = b"body\nof \xff two lines" if header["op"] in BODIES else b""

    assert feed_all(Assembler(), header, body) == [Frame(header, body)]


@pytest.mark.parametrize("header", FROM_HOST, ids=lambda h: h["op"])
def test_every_message_of_the_host_arrives_as_it_was_sent(header: dict[str, Any]) -> None:
    body = b"print(1)" if header["op"] in BODIES else b""

    assert feed_all(Assembler(protocol.FROM_HOST), header, body) == [Frame(header, body)]


@given(size=st.integers(0, 4 * protocol.MESSAGE_BYTES_MAX))
@settings(max_examples=50, deadline=None)
def test_a_value_of_any_length_is_put_together_again(size: int) -> None:
    header = {"op": "result", "nonce": NONCE}
    body = bytes(i % 251 for i in range(size))
    messages = list(protocol.split(header, body))
    assembler = Assembler()
    frames = [assembler.feed(m) for m in messages]

    assert all(len(m) <= protocol.MESSAGE_BYTES_MAX for m in messages)
    assert frames == [None] * (len(messages) - 1) + [Frame(header, body)]


def test_a_value_may_be_as_long_as_the_limit_and_no_longer() -> None:
    header = {"op": "result", "nonce": NONCE}
    frame = feed_all(Assembler(), header, bytes(protocol.VALUE_BYTES_MAX))[-1]

    assert frame is not None
    assert len(frame.body) == protocol.VALUE_BYTES_MAX
    with pytest.raises(FrameError):
        list(protocol.split(header, bytes(protocol.VALUE_BYTES_MAX + 1)))


def test_a_value_that_grows_past_the_limit_is_refused() -> None:
    assembler = Assembler()
    part = message({"op": "result", "nonce": NONCE, "more": True}, bytes(1 << 15))
    for _ in range(protocol.VALUE_BYTES_MAX >> 15):
        assembler.feed(part)

    with pytest.raises(FrameError):
        assembler.feed(part)


def test_an_unfinished_value_is_dropped_when_another_begins() -> None:
    assembler = Assembler()
    assembler.feed(message({"op": "result", "nonce": NONCE, "more": True}, b"lost"))
    other = {"op": "logs", "nonce": NONCE, "stream": "stderr"}

    assert assembler.feed(message(other, b"kept")) == Frame(other, b"kept")
    assert assembler.feed(message({"op": "result", "nonce": NONCE}, b"new")) == Frame(
        {"op": "result", "nonce": NONCE}, b"new"
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no line end",
        b"\n",
        b"not json\nbody",
        b"[]\n",
        b'"text"\n',
        b"{}\n",
        b"\xff\xfe\n",
        b"[" * 65_000 + b"\n",
        b'{"a":' * 10_000 + b"\n",
        b"1" * 10_000 + b"\n",
        b'{"op":"configured"}'.decode().encode("utf-16") + b"\n",
        message({"op": "unknown"}),
        message({"op": ["done"]}),
        message({"op": "configured", "extra": 1}),
        message({"op": "configured"}, b"body"),
        message({"op": "configured", "more": True}),
        message({"op": "ready", "python": "3", "pid": True}),
        message({"op": "ready", "python": "3", "pid": -1}),
        message({"op": "ready", "python": 3, "pid": 1}),
        message({"op": "logs", "nonce": NONCE}),
        message({"op": "logs", "nonce": NONCE, "stream": "stdin"}),
        message({"op": "logs", "nonce": NONCE, "stream": ["stdout"]}),
        message({"op": "logs", "nonce": NONCE.upper(), "stream": "stdout"}),
        message({"op": "logs", "nonce": "short", "stream": "stdout"}),
        message({"op": "logs", "nonce": None, "stream": "stdout"}),
        message({"op": "result", "nonce": NONCE, "more": 1}),
        message({"op": "result", "nonce": NONCE, "more": None}),
        message({"op": "done", "nonce": NONCE, "status": "died"}),
        *(
            message({"op": "image", "nonce": NONCE, **IMAGE, **wrong})
            for wrong in (
                {"mime": "text/html"},
                {"name": "x" * 201},
                {"saved_path": 1},
                {"parts": None},
                {"parts": [["text/html", -1]]},
                {"parts": [["text/html", True]]},
                {"parts": [["text/html"]]},
                {"parts": [["text", 1]]},
                {"parts": [["text/ht ml", 1]]},
                {"parts": [["audio/wav", 1]]},
                {"parts": [["text/html", 1], ["text/html", 1]]},
                {"parts": [["text/html", protocol.PARTS_BYTES_MAX + 1]]},
                {"parts": [[f"text/{n}", 0] for n in range(protocol.PARTS_MAX + 1)]},
                {"display_id": "x" * 201},
                {"display_id": 5},
                {"is_update": None},
            )
        ),
        message({"op": "clear", "nonce": NONCE}, b"body"),
        message({"op": "error", "nonce": NONCE, "name": "E", "message": "x" * 8001}),
        message({"op": "error", "nonce": NONCE, "name": "\ud800", "message": ""}),
        message({"op": "execute", "cell": 1, "nonce": NONCE}),
        message({"op": "result", "nonce": NONCE}, bytes(protocol.MESSAGE_BYTES_MAX)),
    ],
)
def test_what_breaks_the_protocol_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError):
        Assembler().feed(data)


@given(
    good=st.sampled_from([message(header, b"abcde") for header in FROM_KERNEL]),
    places=st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=6)), max_size=2),
    end=st.one_of(st.just(400), st.integers(0, 400)),
)
@settings(deadline=None)
def test_damaged_messages_raise_nothing_but_a_frame_error(
    good: bytes, places: list[tuple[int, bytes]], end: int
) -> None:
    data = good
    for place, other in places:
        data = data[:place] + other + data[place + len(other) :]
    data = data[:end]
    is_damaged = data != good
    op = json.loads(good.partition(b"\n")[0])["op"]
    try:
        frame = Assembler().feed(data)
    except FrameError:
        assert is_damaged or op not in BODIES
        return

    if not is_damaged:
        assert frame is not None
    if frame is not None:
        assert frame.header["op"] in protocol.FROM_KERNEL
        assert all(protocol.is_clean(v) for v in frame.header.values() if isinstance(v, str))
        assert frame.body == data.partition(b"\n")[2]


def test_a_good_message_after_a_bad_one_is_still_checked_as_itself() -> None:
    assembler = Assembler()
    good = {"op": "done", "nonce": NONCE, "status": "ok"}
    assert assembler.feed(message(good)) == Frame(good, b"")
    with pytest.raises(FrameError):
        assembler.feed(message({"op": "done", "nonce": NONCE, "status": "no"}))

    assert assembler.feed(message(good)) == Frame(good, b"")


def test_an_error_header_of_the_largest_size_leaves_room() -> None:
    # Control characters take six bytes each in JSON: nothing takes more.
    header = {
        "op": "error",
        "nonce": NONCE,
        "name": "\x01" * protocol.NAME_CHARS_MAX,
        "message": "\x01" * protocol.ERROR_MESSAGE_CHARS_MAX,
    }

    assert feed_all(Assembler(), header, b"x" * 100_000)[-1] == Frame(header, b"x" * 100_000)


def test_a_header_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(FrameError):
        next(protocol.split({"op": "error", "message": "x" * protocol.MESSAGE_BYTES_MAX}))


def test_text_is_made_clean() -> None:
    assert protocol.clean("é\ud800\x00") == "é\\ud800\x00"
    assert protocol.clean("abcdef", 4) == "abc…"
    assert protocol.clean("abcd", 4) == "abcd"


def test_a_value_in_many_small_parts_takes_no_more_memory_than_it_has_bytes() -> None:
    assembler = Assembler()
    part = protocol.prefix({"op": "result", "nonce": NONCE, "more": True}) + b"xy"
    count = 50_000
    tracemalloc.start()
    try:
        for _ in range(count):
            assert assembler.feed(part) is None
        assert tracemalloc.get_traced_memory()[0] < 3 * 2 * count
    finally:
        tracemalloc.stop()


def test_a_value_that_was_dropped_is_not_continued() -> None:
    assembler = Assembler()
    header = {"op": "result", "nonce": NONCE}
    assert assembler.feed(protocol.prefix({**header, "more": True}) + b"old") is None

    assembler.drop_unfinished()

    assert assembler.feed(protocol.prefix(header) + b"new") == Frame(header, b"new")


def test_headers_that_are_expected_mean_what_they_say() -> None:
    known, other = Assembler(), Assembler()
    known.expect(NONCE)
    headers = [{"op": "logs", "nonce": NONCE, "stream": s} for s in ("stdout", "stderr")]
    headers += [{"op": "done", "nonce": NONCE, "status": s} for s in protocol.STATUSES]
    headers += [{"op": "result", "nonce": NONCE}]
    messages = [protocol.prefix(header) for header in headers]

    assert [known.feed(m) for m in messages] == [other.feed(m) for m in messages]


def test_what_is_expected_of_one_cell_is_checked_for_the_next() -> None:
    assembler = Assembler()
    assembler.expect(NONCE)

    with pytest.raises(FrameError):
        assembler.feed(protocol.prefix({"op": "done", "nonce": NONCE, "status": "ok"}) + b"body")
    with pytest.raises(FrameError):
        assembler.feed(protocol.prefix({"op": "done", "nonce": "%b", "status": "ok"}))


def test_parts_follow_the_text_or_picture() -> None:
    header = {"op": "display", "nonce": NONCE, **SHOWN}

    text, parts = protocol.parts_of(Frame(header, b"text<b>{}"))

    assert text == b"text"
    assert parts == (("text/html", "<b>"), ("application/vnd.plotly.v1+json", "{}"))


def test_parts_longer_than_their_message_are_refused() -> None:
    with pytest.raises(FrameError):
        protocol.parts_of(Frame({"op": "display", "nonce": NONCE, **SHOWN}, b"1234"))
