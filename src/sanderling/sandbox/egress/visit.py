"""
One connection from a box to the proxy, from its first request to its end.

HTTP is read and written by h11; what goes on to a server was taken apart and put together again, so
no two readers can disagree about where a request ends. Each request has a connection of its own to
its server, and nothing that was checked for one request holds for the next. A tunnel is bytes, once
its first ones have shown that TLS is spoken with the domain it was opened for.

Nothing is gathered: a chunk is read, written, and only then the next is read, so that a slow reader
slows its sender. Every wait has an end.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterable
from typing import Any

import h11

from sanderling.sandbox.egress import domains
from sanderling.sandbox.egress.audit import Entry
from sanderling.sandbox.egress.gate import Gate
from sanderling.sandbox.egress.hello import ALERT_ACCESS_DENIED, HelloReader, HelloRefused
from sanderling.sandbox.egress.targets import Refused, Target, target_of

CHUNK_BYTES = 64 << 10
HEAD_BYTES_MAX = 32 << 10  # request line and headers; servers take 8 to 16 KiB
HEAD_S_MAX = 15.0  # from the first byte of a request, or of a ClientHello, to its last
KEEP_S_MAX = 30.0  # between two requests
IDLE_S_MAX = 120.0  # no byte in either direction: a server may think for that long
EXCHANGE_S_MAX = 3600.0  # the longest a cell can run
_FAREWELL_S, _FAREWELL_BYTES_MAX = 2.0, 1 << 20
_NAMED_MAX = 8  # domains named in a refusal

# RFC 9110, 7.6.1, and what is between the client and the proxy alone.
_HOP_BY_HOP = frozenset(
    b"connection expect host keep-alive proxy-authenticate proxy-authorization proxy-connection te "
    b"trailer transfer-encoding upgrade".split()
)
_Headers = list[tuple[bytes, bytes]]


class Visit:
    """Serves one connection; `run` it once."""

    def __init__(self, connection: socket.socket, gate: Gate) -> None:
        """connection: non-blocking; stays the caller's to close."""
        self._client = _Speaker(connection, h11.SERVER)
        self._gate = gate
        self._clock: asyncio.Timeout | None = None  # of the exchange that goes on
        self._ends_at = 0.0

    async def run(self) -> None:
        """Serve requests until the client or a rule ends the connection."""
        with contextlib.suppress(OSError, TimeoutError):
            while await self._serve_one():
                self._client.http.start_next_cycle()

    async def _serve_one(self) -> bool:
        """Serve one request; return whether another may follow on this connection."""
        if not self._client.has_more:
            async with asyncio.timeout(KEEP_S_MAX):
                if not await self._client.receive():
                    return False
        await self._gate.turn()
        entry = self._gate.entry()
        began = time.monotonic()
        try:
            await self._exchange(entry)
        except Refused as refusal:
            if entry.verdict != "allowed":
                entry.verdict = "failed" if refusal.status in (502, 504) else "refused"
            entry.reason = refusal.text
            await self._answer(refusal, entry)
        except (OSError, TimeoutError) as error:
            entry.reason = "timed out" if isinstance(error, TimeoutError) else "broken off"
        except asyncio.CancelledError:
            entry.reason = "ended by the host"
            raise
        finally:
            entry.duration_ms = round((time.monotonic() - began) * 1000, 1)
            await self._gate.record(entry)
        http = self._client.http
        return entry.method != "CONNECT" and http.states == {
            h11.CLIENT: h11.DONE,
            h11.SERVER: h11.DONE,
        }

    async def _exchange(self, entry: Entry) -> None:
        request = await self._request()
        if request is None:
            raise ConnectionResetError
        entry.method = request.method.decode("ascii", "replace")[:20]
        hosts = [value for name, value in request.headers if name == b"host"]
        target = target_of(request.method, request.target, hosts)
        entry.domain, entry.port = target.domain, target.port
        if not domains.covers(self._gate.domains, target.domain):
            raise Refused(403, self._not_allowed(target.domain))
        if _has_two_lengths(request.headers):
            raise Refused(400, "The request has a Content-Length and a Transfer-Encoding.")
        if request.method == b"CONNECT" and _has_body(request.headers):
            raise Refused(400, "CONNECT has no body.")
        connection, entry.address = await self._gate.reach.connect(target)
        with connection:
            entry.verdict = "allowed"
            async with asyncio.timeout(IDLE_S_MAX) as self._clock:
                self._ends_at = asyncio.get_running_loop().time() + EXCHANGE_S_MAX
                if request.method == b"CONNECT":
                    await self._tunnel(entry, connection)
                else:
                    await self._forward(entry, request, target, connection)

    async def _request(self) -> h11.Request | None:
        """Read a request's head; None: the client left instead. Raises Refused."""
        try:
            async with asyncio.timeout(HEAD_S_MAX):
                event = await self._client.next_event()
        except TimeoutError as error:
            raise Refused(408, "The request did not arrive in time.") from error
        except h11.RemoteProtocolError as error:
            raise Refused(error.error_status_hint, f"This is no HTTP request: {error}.") from error
        return event if isinstance(event, h11.Request) else None

    def _not_allowed(self, domain: str) -> str:
        named = ", ".join(self._gate.domains[:_NAMED_MAX])
        more = len(self._gate.domains) - _NAMED_MAX
        return (
            f"{domain} is not allowed here; this container may reach only: {named}"
            f"{f' and {more} more' if more > 0 else ''}."
        )

    async def _answer(self, refusal: Refused, entry: Entry) -> None:
        """Tell the client why not, if nothing was said yet, and end the connection."""
        if self._client.http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        entry.status = refusal.status
        text = refusal.text.encode("ascii", "replace")
        headers: _Headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(text) + 1).encode()),
            (b"connection", b"close"),
        ]
        # The text is the reason phrase too: of a refused tunnel, clients show nothing else.
        reason = bytes(byte if 32 <= byte < 127 else 63 for byte in text[:400])
        async with asyncio.timeout(_FAREWELL_S):
            response = h11.Response(status_code=refusal.status, headers=headers, reason=reason)
            await self._client.send(response)
            if entry.method != "HEAD":
                await self._client.send(h11.Data(data=text + b"\n"))
            await self._client.say_goodbye()

    # ---- http:// -------------------------------------------------------------------------------

    async def _forward(
        self, entry: Entry, request: h11.Request, target: Target, connection: socket.socket
    ) -> None:
        server = _Speaker(connection, h11.CLIENT)
        headers: _Headers = [(b"host", target.domain.encode()), *_end_to_end(request.headers)]
        if _is_chunked(request.headers):
            headers.append((b"transfer-encoding", b"chunked"))
        headers.append((b"connection", b"close"))
        await server.send(h11.Request(method=request.method, target=target.path, headers=headers))
        if self._client.http.they_are_waiting_for_100_continue:
            await self._client.send(h11.InformationalResponse(status_code=100, headers=[]))
        sending = asyncio.create_task(self._send_up(entry, server))
        try:
            await self._send_down(entry, server)
            if not sending.done() and self._client.http.their_state is h11.SEND_BODY:
                sending.cancel()
                await asyncio.wait([sending])
                async with asyncio.timeout(_FAREWELL_S):
                    await self._client.say_goodbye()
        except h11.ProtocolError as error:
            raise Refused(502, f"{target.domain} does not answer in HTTP: {error}.") from error
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send_up(self, entry: Entry, server: _Speaker) -> None:
        """The body of the request, from the client to the server."""
        try:
            while True:
                event = await self._client.next_event()
                self._keep_alive()
                match event:
                    case h11.Data():
                        entry.bytes_up += len(event.data)
                        await server.send(event)
                    case h11.EndOfMessage():
                        await server.send(h11.EndOfMessage())  # trailers stay here
                        return
                    case _:
                        raise ConnectionResetError
        except (OSError, h11.ProtocolError):
            # Half a request is none: the server must not take it for a whole one. If it is the
            # server that left, its answer may have come before.
            with contextlib.suppress(OSError):
                server.socket.shutdown(socket.SHUT_WR)

    async def _send_down(self, entry: Entry, server: _Speaker) -> None:
        """The answer, from the server to the client."""
        while True:
            event = await server.next_event()
            self._keep_alive()
            match event:
                case h11.InformationalResponse():
                    continue
                case h11.Response():
                    if _has_two_lengths(event.headers):
                        raise h11.RemoteProtocolError("it has two lengths")
                    entry.status = event.status_code
                    answer = h11.Response(
                        status_code=event.status_code,
                        headers=[*_end_to_end(event.headers)],
                        reason=event.reason,
                    )
                    await self._client.send(answer)
                case h11.Data():
                    entry.bytes_down += len(event.data)
                    await self._client.send(h11.Data(data=event.data))
                case h11.EndOfMessage():
                    await self._client.send(h11.EndOfMessage())
                    return
                case _:
                    raise h11.RemoteProtocolError("it left in the middle")

    # ---- https:// ------------------------------------------------------------------------------

    async def _tunnel(self, entry: Entry, connection: socket.socket) -> None:
        await self._client.next_event()  # the end of a request without a body
        await self._client.send(h11.Response(status_code=200, headers=[], reason=b"Connected"))
        entry.status = 200
        try:
            async with asyncio.timeout(HEAD_S_MAX):
                first = await self._hello(entry.domain)
        except (HelloRefused, TimeoutError) as error:
            entry.verdict = "refused"
            entry.reason = str(error) or "The ClientHello did not arrive in time."
            await self._client.send_bytes(ALERT_ACCESS_DENIED)
            return
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(connection, first)
        self._keep_alive()
        entry.bytes_up += len(first)
        client = self._client.socket

        async def pump(source: socket.socket, target: socket.socket, counted: str) -> None:
            while data := await loop.sock_recv(source, CHUNK_BYTES):
                await loop.sock_sendall(target, data)
                setattr(entry, counted, getattr(entry, counted) + len(data))
                self._keep_alive()
            target.shutdown(socket.SHUT_WR)

        pumps = [
            asyncio.create_task(pump(client, connection, "bytes_up")),
            asyncio.create_task(pump(connection, client, "bytes_down")),
        ]
        try:
            await asyncio.gather(*pumps)
        finally:
            for each in pumps:
                each.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _hello(self, domain: str) -> bytes:
        """Return what the client sent first: TLS, meant for `domain`. Raises HelloRefused."""
        reader = HelloReader()
        data, _ = self._client.http.trailing_data
        sent = bytearray(data)
        name = reader.feed(data)
        while name is None:
            data = await asyncio.get_running_loop().sock_recv(self._client.socket, CHUNK_BYTES)
            if not data:
                raise HelloRefused("The client left before its ClientHello was whole.")
            sent += data
            name = reader.feed(data)
        if name.lower() != domain:
            raise HelloRefused(f"TLS asks for {name[:80]!r} in a tunnel to {domain}.")
        return bytes(sent)

    def _keep_alive(self) -> None:
        """A byte went through: the exchange has all its time again, up to its end."""
        assert self._clock is not None
        now = asyncio.get_running_loop().time()
        self._clock.reschedule(min(now + IDLE_S_MAX, self._ends_at))


class _Speaker:
    """HTTP on a socket: one side of h11, and the bytes."""

    def __init__(self, connection: socket.socket, role: Any) -> None:
        self.socket = connection
        self.http = h11.Connection(role, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._loop = asyncio.get_running_loop()

    @property
    def has_more(self) -> bool:
        """Whether bytes of the next request have come already."""
        return bool(self.http.trailing_data[0])

    async def receive(self) -> bool:
        """Wait for bytes; False: there will be no more."""
        data = await self._loop.sock_recv(self.socket, CHUNK_BYTES)
        self.http.receive_data(data)
        return bool(data)

    async def next_event(self) -> Any:
        """Raises h11.RemoteProtocolError, OSError."""
        while (event := self.http.next_event()) is h11.NEED_DATA:
            await self.receive()
        return event

    async def send(self, event: Any) -> None:
        data = self.http.send(event)
        if data:
            await self.send_bytes(data)

    async def send_bytes(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.socket, data)

    async def say_goodbye(self) -> None:
        """
        Say no more, and let the client finish: a connection closed with bytes unread is reset, and
        the answer may be lost with it.
        """
        self.socket.shutdown(socket.SHUT_WR)
        left = _FAREWELL_BYTES_MAX
        while left > 0 and (data := await self._loop.sock_recv(self.socket, CHUNK_BYTES)):
            left -= len(data)


def _end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> _Headers:
    """The headers that are for the other end: not those of one hop, nor what `Connection` names."""
    given = list(headers)
    named = {
        token.strip().lower()
        for name, value in given
        if name in (b"connection", b"proxy-connection")
        for token in value.split(b",")
    }
    # A length is never of one hop, whatever anybody says.
    dropped = (_HOP_BY_HOP | named) - {b"content-length"}
    return [(name, value) for name, value in given if name not in dropped]


def _has_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and int(value) > 0)
        for name, value in headers
    )


def _is_chunked(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(name == b"transfer-encoding" for name, _ in headers)


def _has_two_lengths(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return {b"transfer-encoding", b"content-length"} <= {name for name, _ in headers}
