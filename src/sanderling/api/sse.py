"""
Server-sent events: how one event is written, and a reply that writes them as they come.

    event: response.created
    data: {"type":"response.created",…}

Source: WHATWG HTML, "Server-sent events".
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import anyio.abc
import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

# Proxies and load balancers close a connection that is silent for 30 to 60 s; half of the shorter.
KEEPALIVE_S = 15.0
_KEEPALIVE = b": keepalive\n\n"


def frame(name: str, data: dict[str, Any]) -> bytes:
    """Return one event as bytes. JSON holds no line break, so `data` is always one line."""
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"


def data(value: dict[str, Any]) -> bytes:
    """Return one event without a name, as chat completions are streamed."""
    return b"data: " + orjson.dumps(value) + b"\n\n"


DONE = b"data: [DONE]\n\n"


class EventStream(Response):
    """
    A reply that sends each chunk of frames at once and a comment after every silence.

    A client that leaves ends the iteration of `frames` and nothing else: whatever makes the events
    has its own owner. `frames` must not raise; what can go wrong in it has to end as an event.
    """

    media_type = "text/event-stream"

    def __init__(
        self, frames: AsyncGenerator[bytes, None], *, keepalive_s: float | None = None
    ) -> None:
        super().__init__(headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        # The length of a stream is not known; Response put the length of an empty body there.
        self.raw_headers = [pair for pair in self.raw_headers if pair[0] != b"content-length"]
        self._frames = frames
        self._keepalive_s = KEEPALIVE_S if keepalive_s is None else keepalive_s
        self._sent_at = 0.0

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        is_whole = False
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch, receive, group)
            group.start_soon(self._keep_alive, send)
            async with contextlib.aclosing(self._frames):
                async for chunk in self._frames:
                    await self._write(send, chunk)
            is_whole = True
            group.cancel_scope.cancel()
        if is_whole:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _write(self, send: Send, chunk: bytes) -> None:
        self._sent_at = asyncio.get_running_loop().time()
        await send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def _watch(self, receive: Receive, group: anyio.abc.TaskGroup) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        group.cancel_scope.cancel()

    async def _keep_alive(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        self._sent_at = loop.time()
        while True:
            await asyncio.sleep(max(0.0, self._sent_at + self._keepalive_s - loop.time()))
            if loop.time() - self._sent_at >= self._keepalive_s:
                await self._write(send, _KEEPALIVE)
