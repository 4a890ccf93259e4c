"""
WebSocket mode: one connection, many responses, one after the other.

A client sends `{"type": "response.create", …}` with what it would POST, and gets the events that it
would be streamed, one text message each. What goes wrong before there is a response is told in an
`error` event and ends nothing. Requests that come while one is answered wait in their order; how
many, and how large all of them, is bounded. A response that is not to be stored can be continued on
the connection that made it, for as long as that is open, and is forgotten with it.

Source: OpenAI guide "WebSocket mode"; openai-python `types/responses/responses_client_event.py`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Literal

import orjson
from fastapi import WebSocket, WebSocketDisconnect

from sanderling.api import errors
from sanderling.api.auth import identify, organization
from sanderling.api.bodies import JSON_BYTES_MAX, decode
from sanderling.api.responses.requests import CreateResponse
from sanderling.api.responses.starting import projection_of, start_response
from sanderling.api.services import Services
from sanderling.api.validation import check, invalid_value, json_name, missing
from sanderling.errors import InvalidRequest, RateLimited, SanderlingError
from sanderling.observe import logs
from sanderling.records import Run, RunError
from sanderling.runs.events import RunChanged

# How long a connection lasts: OpenAI's 60 minutes. Its unstored responses are kept that long.
SOCKET_S_MAX = 3600.0
# Requests that wait behind the one that is answered, and the bytes of all of them.
WAITING_MAX = 16
WAITING_BYTES_MAX = JSON_BYTES_MAX

_CREATE = "response.create"
# RFC 6455, 7.4.1: the server ends what it has no fault to find with.
_GOING_AWAY = 1001


class CreateOnSocket(CreateResponse):
    """`stream_id` is repeated in the events of the response; responses never overlap here."""

    type: Literal["response.create"]
    generate: bool | None = None
    stream_id: str | None = None


async def responses_socket(websocket: WebSocket) -> None:
    """Answer requests until the client leaves, or the connection is too old."""
    organization_id = await organization(websocket)
    await websocket.accept()
    services: Services = websocket.app.state.services
    session = _Session(websocket, services, organization_id)
    try:
        await session.serve()
    finally:
        await session.let_go()


class _Session:
    """
    One connection.

    _unstored: the runs that only this connection knows; others may lean on any of them.
    _open: those of them that may be gone on from.
    """

    def __init__(self, websocket: WebSocket, services: Services, organization_id: str) -> None:
        self._websocket = websocket
        self._services = services
        self._organization_id = organization_id
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._arrived = asyncio.Event()
        self._unstored: dict[str, Run] = {}
        self._open: set[str] = set()

    async def serve(self) -> None:
        answering = asyncio.create_task(self._answer_forever())
        reading = asyncio.create_task(self._read_forever())
        try:
            # The client has left, the hour is over, or nothing can be sent to it any more.
            await asyncio.wait({answering, reading}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (answering, reading):
                task.cancel()
            await asyncio.wait({answering, reading})
        for task in (answering, reading):
            if not task.cancelled() and not isinstance(task.exception(), WebSocketDisconnect):
                task.result()

    async def let_go(self) -> None:
        """Nobody can go on from the unstored runs any more."""
        for run in self._unstored.values():
            await self._services.runner.let_go(run)

    # ---- requests ------------------------------------------------------------------------------

    async def _read_forever(self) -> None:
        # All the time, also while a request is answered: else a client that leaves is not noticed,
        # nor its answers to pings, and it would be taken for dead.
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text, data = message.get("text"), message.get("bytes")
            content = text.encode() if text is not None else data or b""
            if (
                len(self._waiting) >= WAITING_MAX
                or self._waiting_bytes + len(content) > WAITING_BYTES_MAX
            ):
                await self._send_error(_TOO_MANY)
                continue
            self._waiting.append(content)
            self._waiting_bytes += len(content)
            self._arrived.set()

    async def _next(self) -> bytes:
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        content = self._waiting.popleft()
        self._waiting_bytes -= len(content)
        return content

    async def _answer_forever(self) -> None:
        try:
            async with asyncio.timeout(SOCKET_S_MAX) as limit:
                while True:
                    content = await self._next()
                    ends_at = limit.when()
                    limit.reschedule(None)  # a response that has begun comes to its end
                    await self._answer(content)
                    limit.reschedule(ends_at)
        except TimeoutError:
            await self._send_error(_TOO_OLD)
            await self._websocket.close(_GOING_AWAY)

    async def _answer(self, content: bytes) -> None:
        lane: str | None = None
        value: Any = None
        try:
            value = decode(content)
            lane = _lane(value)
            body = _body(value)
            await identify(self._websocket)  # its key may have been revoked since
            self._websocket.state.count(self._organization_id)  # `middleware.py`
            run = await start_response(
                body,
                self._services,
                self._organization_id,
                generate=body.generate is not False,
                unstored=frozenset(self._open),
            )
        except SanderlingError as error:
            self._shut(value)
            await self._send_error(error, lane)
            return
        except Exception as error:  # noqa: BLE001 the request boundary
            logs.error("request.failed", cause=error, method="WS", route="/v1/responses")
            await self._send_error(SanderlingError("The server had an error."), lane)
            return
        if not run.request.stored:
            self._services.runner.keep(run)
            self._unstored[run.id] = run
            self._open.add(run.id)
        await self._send_events(run, lane)

    def _shut(self, value: Any) -> None:
        """As OpenAI does: a run that a wrong request went on from is not there for another one."""
        if isinstance(value, dict) and isinstance(value.get("previous_response_id"), str):
            self._open.discard(value["previous_response_id"])

    # ---- events --------------------------------------------------------------------------------

    async def _send_events(self, run: Run, lane: str | None) -> None:
        projection = projection_of(run)
        try:
            async for _, event in self._services.runner.follow(run.id):
                for wire in projection.project(event):
                    await self._send(wire, lane)
        except SanderlingError as error:
            fault = RunError("server_error", error.message)
        else:
            fault = RunError("server_error", "The events of this response end without its end.")
        if not projection.has_ended:
            failed = RunChanged("failed", self._services.clock.now(), error=fault)
            for wire in projection.project(failed):
                await self._send(wire, lane)

    async def _send(self, wire: dict[str, Any], lane: str | None) -> None:
        if lane is not None:
            wire = {**wire, "stream_id": lane}
        await self._websocket.send_text(orjson.dumps(wire).decode())

    async def _send_error(self, error: SanderlingError, lane: str | None = None) -> None:
        status = errors.shape_of(error).status
        await self._send({"type": "error", "status": status, **errors.body_of(error)}, lane)


_TOO_MANY = RateLimited(
    f"{WAITING_MAX} requests, or {WAITING_BYTES_MAX >> 20} MB of them, are waiting on this "
    "connection already. Send the next one when a response has ended."
)
_TOO_OLD = InvalidRequest(
    "This connection has been open for 60 minutes, which is as long as one may be. Open a new one "
    "to go on.",
    code="websocket_connection_limit_reached",
)


def _lane(value: Any) -> str | None:
    lane = value.get("stream_id") if isinstance(value, dict) else None
    return lane if isinstance(lane, str) else None


def _body(value: Any) -> CreateOnSocket:
    """
    Return the request in a message.

    Raises:
        InvalidRequest: it is none, or asks for what there is not on a connection.
    """
    if not isinstance(value, dict):
        raise InvalidRequest(
            f"Invalid type for the message: expected an object, but got {json_name(value)} "
            "instead.",
            code="invalid_type",
        )
    kind = value.get("type")
    if kind is None:
        raise missing("type")
    if kind != _CREATE:
        raise invalid_value("type", str(kind), (_CREATE,))
    body = check(CreateOnSocket, value)
    if body.background:
        raise InvalidRequest(
            "Background responses are not started over a WebSocket. Leave 'background' out, or "
            "create the response with POST /v1/responses.",
            param="background",
            code="unsupported_parameter",
        )
    return body
