"""
What every reply carries and what no request may break: id, time taken, and an answer to any fault.

Whose request it is turns out inside a route (`auth.py`), which then asks to be admitted: by the
organization's rate, if the operator has set one, and by its share of the places.

Requests at work are bounded, and an organization may have as many as there are places still free:
however many some have, another finds a place.

Pure ASGI, because a wrapper that reads replies would buffer streams and hide disconnects.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from urllib.parse import quote

import orjson
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sanderling.api import errors
from sanderling.api.rate_limits import RateLimits
from sanderling.errors import RateLimited
from sanderling.ids import new_id
from sanderling.observe import logs

# The date every OpenAI reply carries; SDKs and proxies show it.
API_VERSION = b"2020-10-01"
# Requests at work at once, streams among them: each costs a connection and up to some hundred KiB.
REQUESTS_MAX = 4096
_RETRY_AFTER_S = 2.0


class RequestFrame:
    """
    Gives each request an id, times it, logs its end, and answers 500 where a route broke.

    The id is in `scope["state"]["request_id"]` and in the `x-request-id` header of every reply.
    """

    def __init__(self, app: ASGIApp, limits: RateLimits) -> None:
        self._app = app
        self._limits = limits
        self._at_work = 0
        self._shares: Counter[str] = Counter()  # of those at work, by organization

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = _Request(scope, send, self._limits, self._take_share)
        if self._at_work >= REQUESTS_MAX:
            await errors.reply(_TOO_MANY)(scope, receive, request.send)
            return
        self._at_work += 1
        try:
            await self._serve(request, scope, receive)
        finally:
            self._at_work -= 1
            self._give_share_back(request.organization_id)

    def _take_share(self, organization_id: str) -> None:
        """Raises RateLimited: it has as many as are free for everybody."""
        share = self._shares[organization_id]
        if share >= REQUESTS_MAX - self._at_work + 1:  # without the one that asks
            raise RateLimited(
                f"The server is answering {share} requests of this organization already, which is "
                "its share. Try again when some of them are answered.",
                retry_after_s=_RETRY_AFTER_S,
            )
        self._shares[organization_id] += 1

    def _give_share_back(self, organization_id: str | None) -> None:
        if organization_id is not None:
            self._shares[organization_id] -= 1
            if not self._shares[organization_id]:
                del self._shares[organization_id]

    async def _serve(self, request: _Request, scope: Scope, receive: Receive) -> None:
        with logs.bound(request_id=request.id):
            try:
                await self._app(scope, receive, request.send)
            except ClientDisconnect:
                request.status = request.status or 499  # nginx's "client closed request"
            except Exception as error:  # noqa: BLE001 the request boundary; logged here, once
                logs.error(
                    "request.failed", cause=error, method=scope["method"], route=_route(scope)
                )
                await request.fail()
            logs.info(
                "request.finished",
                method=scope["method"],
                route=_route(scope),
                status=request.status,
                duration_ms=request.elapsed_ms(),
            )


_TOO_MANY = RateLimited(
    f"The server is answering {REQUESTS_MAX} requests already, which is as many as it takes. Try "
    "again when some of them are answered.",
    retry_after_s=_RETRY_AFTER_S,
)


def _route(scope: Scope) -> str:
    """Return the route's pattern rather than the path, so that lines can be counted."""
    return str(getattr(scope.get("route"), "path", None) or "unknown")


class _Request:
    """One request on its way: what `send` has seen of its reply."""

    def __init__(
        self, scope: Scope, send: Send, limits: RateLimits, take_share: Callable[[str], None]
    ) -> None:
        self.id = new_id("req")
        self.status: int | None = None
        self.organization_id: str | None = None  # whose share it takes, when that is known
        self._told: list[tuple[bytes, bytes]] = []  # headers that are the organization's
        self._limits = limits
        self._take_share = take_share
        self._send = send
        self._started = time.perf_counter()
        scope.setdefault("state", {}).update(request_id=self.id, admit=self.admit)

    def admit(self, organization_id: str) -> None:
        """It is a request of that organization. Raises RateLimited: one too many."""
        self._told = [(b"openai-organization", quote(organization_id).encode())]
        allowance, refusal = self._limits.take(organization_id)
        if allowance is not None:
            self._told += allowance.headers()
        if refusal is not None:
            raise refusal
        self._take_share(organization_id)
        self.organization_id = organization_id

    def elapsed_ms(self) -> float:
        return (time.perf_counter() - self._started) * 1000

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [
                *message.get("headers", ()),
                (b"x-request-id", self.id.encode()),
                (b"openai-processing-ms", str(max(1, round(self.elapsed_ms()))).encode()),
                (b"openai-version", API_VERSION),
                *self._told,
            ]
            message = {**message, "headers": headers}
        await self._send(message)

    async def fail(self) -> None:
        """
        Answer 500, unless the reply has begun: then it is left unfinished, which closes the
        connection, so that the client cannot take half of a body for the whole.
        """
        if self.status is not None:
            return
        content = orjson.dumps(errors.server_fault(self.id))
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(content)).encode()),
        ]
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": content})
