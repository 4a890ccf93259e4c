"""Streams: framing, keepalives, and clients that leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from sanderling.api.sse import EventStream, frame


def test_frame_is_one_event_on_two_lines():
    assert frame("a.b", {"text": "one\ntwo"}) == b'event: a.b\ndata: {"text":"one\\ntwo"}\n\n'


class Client:
    """The other end of one ASGI reply."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.left = asyncio.Event()
        self.got = asyncio.Condition()

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        async with self.got:
            self.messages.append(message)
            self.got.notify_all()

    @property
    def body(self) -> bytes:
        return b"".join(m.get("body", b"") for m in self.messages[1:])

    async def wait_for(self, piece: bytes) -> None:
        async with asyncio.timeout(10), self.got:
            await self.got.wait_for(lambda: piece in self.body)


async def test_stream_sends_each_chunk_and_closes():
    async def frames() -> AsyncGenerator[bytes, None]:
        yield b"one\n\n"
        yield b"two\n\n"

    client = Client()
    await EventStream(frames())({}, client.receive, client.send)

    headers = dict(client.messages[0]["headers"])
    assert headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert b"content-length" not in headers
    assert [m["body"] for m in client.messages[1:]] == [b"one\n\n", b"two\n\n", b""]
    assert client.messages[-1]["more_body"] is False


async def test_silence_is_filled_with_comments():
    go_on = asyncio.Event()

    async def frames() -> AsyncGenerator[bytes, None]:
        yield b"one\n\n"
        await go_on.wait()
        yield b"two\n\n"

    client = Client()
    stream = EventStream(frames(), keepalive_s=0.01)
    task = asyncio.create_task(stream({}, client.receive, client.send))
    await client.wait_for(b": keepalive\n\n: keepalive\n\n")
    go_on.set()
    await task

    assert client.body.startswith(b"one\n\n: keepalive\n\n")
    assert client.body.endswith(b"two\n\n")


async def test_a_client_that_leaves_ends_the_iteration():
    has_ended = asyncio.Event()

    async def frames() -> AsyncGenerator[bytes, None]:
        try:
            yield b"one\n\n"
            await asyncio.Event().wait()
        finally:
            has_ended.set()

    client = Client()
    task = asyncio.create_task(EventStream(frames())({}, client.receive, client.send))
    await client.wait_for(b"one")
    client.left.set()
    await task

    assert has_ended.is_set()
