"""
The sandbox on a Unix socket: one connection, one call (docs/protocol.md, section 1).

Each connection has a task of its own, which waits when its client reads slowly and holds up nobody
else. A client that goes away ends its connection and nothing more: what it asked for goes on. Who
may connect is settled twice, by the folder the socket is in and by the uid of the peer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sanderling.errors import (
    HostUnavailable,
    MachineFull,
    ProtocolBroken,
    SandboxError,
    SanderlingError,
    SetupError,
)
from sanderling.observe import logs
from sanderling.sandbox import wire
from sanderling.sandbox.base import BoxLimits, Happening
from sanderling.sandbox.local import LocalSandbox
from sanderling.sandbox.wire import Message

# A client sends its call with the connection; who is silent this long is not one of ours.
_CALL_DEADLINE_S = 30.0
# What open streams get to send their last words when the host ends.
_FAREWELL_S = 2.0
# Each box is followed by a connection or two; more than this is a caller that forgets to hang up.
_CONNECTIONS_MAX = 8192
# How long a caller may take none of what is sent to it, or send none of a file, before it is let
# go: what it asked for goes on, and is told again to whoever asks.
_STUCK_S = 120.0
_BACKLOG = 1024  # a full backlog is a failed connect for a client that does not block

_Call = Callable[[Message, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class CallServer:
    """Answers calls to one sandbox. `open`, then `close`."""

    def __init__(self, sandbox: LocalSandbox, facts: dict[str, Any]) -> None:
        """facts: what `hello` tells beside the status, for the launcher to compare."""
        self.is_told_to_end = asyncio.Event()
        self._sandbox = sandbox
        self._facts = facts
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._calls: dict[str, _Call] = {
            "hello": self._hello,
            "create": self._create,
            "execute": self._execute,
            "events": self._events,
            "interrupt": self._interrupt,
            "write_file": self._write_file,
            "read_file": self._read_file,
            "delete_file": self._delete_file,
            "link_file": self._link_file,
            "list_files": self._list_files,
            "containers": self._containers,
            "close": self._close,
            "shutdown": self._shutdown,
        }

    async def open(self, path: Path) -> None:
        """Listen at `path`, replacing what a dead host left there. Raises SetupError."""
        mask = os.umask(0o177)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            self._server = await asyncio.start_unix_server(self._accept, path, backlog=_BACKLOG)
        except OSError as error:
            raise SetupError(f"No socket can be made at {path}: {error.strerror}.") from error
        finally:
            os.umask(mask)

    def stop_listening(self) -> None:
        """Take no more calls."""
        if self._server is not None:
            self._server.close()

    async def close(self) -> None:
        """Let calls that are over say so, then end the rest."""
        self.stop_listening()
        if self._connections:
            await asyncio.wait(self._connections, timeout=_FAREWELL_S)
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    # ---- one connection ------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if _peer_uid(writer) in (os.geteuid(), 0):
                await self._answer(reader, writer)
        except ConnectionError:
            pass  # the client left; what it asked for goes on
        except TimeoutError:
            writer.transport.abort()  # it is stuck: closing would wait until it has read the rest
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read the call, do it, and send its error if it has one. The request boundary."""
        try:
            call = await self._read_call(reader)
            if len(self._connections) > _CONNECTIONS_MAX:
                raise MachineFull("The sandbox host has too many calls to answer now.")
            if call is not None:
                await self._calls[call.text("op")](call, reader, writer)
        except SanderlingError as error:
            await _send(writer, wire.error_header(error))
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:  # noqa: BLE001 - the request boundary
            logs.error("host.call_failed", cause=error)
            failure = SandboxError("The sandbox host failed; its log says how.")
            await _send(writer, wire.error_header(failure))

    async def _read_call(self, reader: asyncio.StreamReader) -> Message | None:
        try:
            async with asyncio.timeout(_CALL_DEADLINE_S):
                call = await wire.receive(reader, body_bytes_max=wire.CODE_BYTES_MAX)
        except TimeoutError as error:
            raise ProtocolBroken("No call arrived.") from error
        if call is None:
            return None
        op = call.text("op")
        if op not in self._calls:
            raise ProtocolBroken(f"There is no call {op!r}.")
        # Any version may ask who is there and tell it to go: that is how an upgrade goes.
        if op not in ("hello", "shutdown") and call.integer("version") != wire.VERSION:
            raise HostUnavailable(
                f"The sandbox host speaks version {wire.VERSION} of the protocol, "
                f"the caller {call.integer('version')}."
            )
        return call

    # ---- the calls -----------------------------------------------------------------------------

    async def _hello(self, _call: Message, _: object, writer: asyncio.StreamWriter) -> None:
        status = asdict(await self._sandbox.status())
        await _send(writer, {"version": wire.VERSION, "status": status, **self._facts})

    async def _create(self, call: Message, _: object, writer: asyncio.StreamWriter) -> None:
        limits = BoxLimits(
            call.integer("memory_bytes"),
            call.optional_number("cpu_count"),
            call.texts("allowed_domains"),
            read_only=call.flag("read_only"),
        )
        is_new = await self._sandbox.create(
            call.text("container_id"),
            limits,
            tenant=call.optional_text("tenant") or "",
            environment=call.optional_text("environment") or "",
        )
        await _send(writer, {"is_new": is_new})

    async def _execute(
        self, call: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        journal = self._sandbox.submit(
            call.text("container_id"),
            call.text("execution_id"),
            call.body_text(),
            timeout_s=call.number("timeout_s"),
        )
        await _tell(journal.follow(), reader, writer)

    async def _events(
        self, call: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        happenings = self._sandbox.events(
            call.text("container_id"), call.text("execution_id"), after=call.integer("after")
        )
        await _tell(happenings, reader, writer)

    async def _interrupt(self, call: Message, _: object, writer: asyncio.StreamWriter) -> None:
        container_id, execution_id = call.text("container_id"), call.text("execution_id")
        is_there = await self._sandbox.interrupt(container_id, execution_id)
        await _send(writer, {"is_there": is_there})

    async def _write_file(
        self, call: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        chunks = _chunks(reader)
        try:
            count = await self._sandbox.write_file(
                call.text("container_id"), call.text("path"), chunks
            )
        except SanderlingError as error:
            await _send(writer, wire.error_header(error))
            # Closing with bytes unread would reset the connection, and the answer with it.
            async with asyncio.timeout(_STUCK_S):
                while await reader.read(wire.BODY_BYTES_MAX):
                    pass
        else:
            await _send(writer, {"bytes": count})
        finally:
            await chunks.aclose()

    async def _read_file(self, call: Message, _: object, writer: asyncio.StreamWriter) -> None:
        chunks = self._sandbox.read_file(call.text("container_id"), call.text("path"))
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                await _send(writer, {}, chunk)
        await _send(writer, {"end": True})

    async def _delete_file(self, call: Message, _: object, writer: asyncio.StreamWriter) -> None:
        was_there = await self._sandbox.delete_file(call.text("container_id"), call.text("path"))
        await _send(writer, {"was_there": was_there})

    async def _link_file(self, call: Message, _: object, writer: asyncio.StreamWriter) -> None:
        leads_there = await self._sandbox.link_file(
            call.text("container_id"), call.text("path"), call.text("target")
        )
        await _send(writer, {"leads_there": leads_there})

    async def _list_files(self, call: Message, _: object, writer: asyncio.StreamWriter) -> None:
        files = await self._sandbox.list_files(call.text("container_id"))
        await _send(writer, {}, wire.files_body(files))

    async def _containers(self, _call: Message, _: object, writer: asyncio.StreamWriter) -> None:
        await _send(writer, {}, wire.ids_body(await self._sandbox.containers()))

    async def _close(self, call: Message, _: object, writer: asyncio.StreamWriter) -> None:
        was_there = await self._sandbox.close(call.text("container_id"))
        await _send(writer, {"was_there": was_there})

    async def _shutdown(self, _call: Message, _: object, writer: asyncio.StreamWriter) -> None:
        self.is_told_to_end.set()
        await _send(writer, {})


async def _send(writer: asyncio.StreamWriter, header: dict[str, Any], body: bytes = b"") -> None:
    """
    Write one message.

    Raises:
        ConnectionError: the caller left.
        TimeoutError: it reads nothing.
    """
    async with asyncio.timeout(_STUCK_S):
        await wire.send(writer, header, body)


async def _tell(
    happenings: AsyncGenerator[tuple[int, Happening], None],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """
    Send what happens, to the end.

    Raises:
        ConnectionError: the caller hung up; noticed at once, however silent the cell.
    """

    async def send_all() -> None:
        async with contextlib.aclosing(happenings):
            async for sequence, happening in happenings:
                await _send(writer, *wire.happening_parts(sequence, happening))

    sending = asyncio.ensure_future(send_all())
    hung_up = asyncio.ensure_future(reader.read(1))  # a caller has no more to say
    try:
        await asyncio.wait({sending, hung_up}, return_when=asyncio.FIRST_COMPLETED)
        if not sending.done():
            raise ConnectionResetError
        sending.result()
    finally:
        sending.cancel()
        hung_up.cancel()
        await asyncio.gather(sending, hung_up, return_exceptions=True)


async def _chunks(reader: asyncio.StreamReader) -> AsyncGenerator[bytes, None]:
    """Yield the bodies that follow a call, up to the message that says `end`."""
    while True:
        async with asyncio.timeout(_STUCK_S):
            message = await wire.receive(reader)
        if message is None:
            raise ProtocolBroken("The connection ended inside a file.")
        if message.header.get("end") is True:
            return
        yield message.body


def _peer_uid(writer: asyncio.StreamWriter) -> int:
    peer: socket.socket = writer.get_extra_info("socket")
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return int(uid)
