"""
A proxy in this process, and a small internet around it: names, and servers behind public addresses.

The rules are the real ones. What the tests put in their place is what lies beyond them: a resolver
with a table, and a dialler that leads each public address to a server on this machine's loopback.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Self

from sanderling.sandbox.egress.audit import Entry
from sanderling.sandbox.egress.gate import Permit
from sanderling.sandbox.egress.proxy import Proxy
from sanderling.sandbox.egress.reach import Reach

DEADLINE_S = 30.0
SITE, OTHER = "93.184.216.34", "93.184.216.35"
ALLOWED = ("site.example", "*.many.example")

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class World:
    """
    names: domain → answers of the resolver, one after another; the last one is repeated.
    servers: (address, port) → what serves there.
    dialled: where connections were made to, in order.
    entries: what was written down.
    """

    def __init__(self) -> None:
        self.names: dict[str, list[Sequence[str]]] = {}
        self.servers: dict[tuple[str, int], Serve] = {}
        self.dialled: list[tuple[str, int]] = []
        self.entries: list[Entry] = []
        self.written = asyncio.Condition()
        self.proxy = Proxy(Reach(self._resolve, self._dial), self._record)
        self._tasks: set[asyncio.Task[None]] = set()

    async def _resolve(self, domain: str) -> Sequence[str]:
        answers = self.names.get(domain)
        if answers is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if not answer:
            await asyncio.Event().wait()
        return answer

    async def _dial(self, address: str, port: int) -> socket.socket:
        self.dialled.append((address, port))
        serve = self.servers.get((address, port))
        if serve is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        ours, theirs = _tcp_pair()
        reader, writer = await asyncio.open_connection(sock=theirs, limit=1 << 20)

        async def work() -> None:
            try:
                await serve(reader, writer)
            except (OSError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        task = asyncio.create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        ours.setblocking(False)
        return ours

    async def _record(self, entry: Entry) -> None:
        async with self.written:
            self.entries.append(entry)
            self.written.notify_all()

    async def entry(self, number: int = 0) -> Entry:
        """Wait for what is written down."""
        async with asyncio.timeout(DEADLINE_S), self.written:
            await self.written.wait_for(lambda: len(self.entries) > number)
        return self.entries[number]

    def box(
        self, container_id: str = "cntr_a", domains: tuple[str, ...] = ALLOWED
    ) -> tuple[str, int]:
        """Let a box out; return where its proxy listens."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.proxy.open(Permit(container_id, "org_a", domains), listener)
        place: tuple[str, int] = listener.getsockname()
        return place

    async def close(self) -> None:
        await self.proxy.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    made = World()
    try:
        yield made
    finally:
        await made.close()


class Caller:
    """The code in a box: bytes to its proxy and back."""

    def __init__(self, place: tuple[str, int]) -> None:
        self._place = place

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection(*self._place)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> bytes:
        """Read up to the empty line."""
        async with asyncio.timeout(DEADLINE_S):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def exactly(self, count: int) -> bytes:
        async with asyncio.timeout(DEADLINE_S):
            return await self.reader.readexactly(count)

    async def rest(self) -> bytes:
        """Read to the end of the connection."""
        async with asyncio.timeout(DEADLINE_S):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""


async def asked(place: tuple[str, int], data: bytes) -> bytes:
    """Say something on a connection of its own; return all that is answered."""
    async with Caller(place) as caller:
        await caller.say(data)
        caller.writer.write_eof()
        return await caller.rest()


def answering(body: bytes, *, heard: list[bytes] | None = None) -> Serve:
    """A server that answers every request with `body`, and keeps the heads it was sent."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if heard is not None:
                heard.append(head)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()

    return serve


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    return ours, theirs
