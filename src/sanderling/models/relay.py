"""
Passes a chat completion on to the model server as the client wrote it, and the answer back as it
comes.

Nothing is read on the way, and nothing repeated: clients of this API repeat on their own, and what
a server says about when to ask again goes back to them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import orjson

from sanderling.errors import ModelProtocol, ModelTimeout
from sanderling.models.base import Relayed

# As `chat.py`: a server that is there takes milliseconds, ten seconds also cover a far one.
_CONNECT_TIMEOUT_S = 10.0
# Connections kept for the next request; how many are open at once, the API room bounds.
_IDLE_CONNECTIONS_MAX = 100
# What servers tell a client about its next request. How much is left of a limit is not among it: it
# would be what is left to this server.
_HEADERS = ("retry-after", "retry-after-ms", "x-should-retry")


class Relay:
    """
    The way to one model server.

    Args:
        base_url: with its `/v1`.
        api_key: sent as bearer token in place of the client's, which is a key of ours.
        timeout_s: longest silence of the server.
    """

    def __init__(self, base_url: str, *, api_key: str | None, timeout_s: float) -> None:
        self._base_url = base_url
        self._timeout_s = timeout_s
        self._headers = {
            "authorization": f"Bearer {api_key or 'none'}",
            "content-type": "application/json",
            # Compressed, an answer would come in larger pieces than it was said in.
            "accept-encoding": "identity",
        }
        self._client: httpx2.AsyncClient | None = None

    @asynccontextmanager
    async def open(self, body: Mapping[str, Any]) -> AsyncIterator[Relayed]:
        """See `Model.relay`."""
        http = self._http()
        url = self._base_url.rstrip("/") + "/chat/completions"
        request = http.build_request("POST", url, content=orjson.dumps(body), headers=self._headers)
        try:
            response = await http.send(request, stream=True)
        except httpx2.TimeoutException as error:
            raise self._silent() from error
        except httpx2.HTTPError as error:
            raise ModelTimeout(
                f"The connection to the model server at {self._base_url} failed"
                f"{_because(error)}. Check --model-url, and that it runs."
            ) from error
        try:
            yield Relayed(
                status=response.status_code,
                content_type=response.headers.get("content-type", ""),
                headers={
                    name: value for name, value in response.headers.items() if name in _HEADERS
                },
                chunks=self._chunks(response),
            )
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Close connections."""
        if self._client is not None:
            await self._client.aclose()

    def _http(self) -> httpx2.AsyncClient:
        # Made when it is first wanted: it loads the certificate authorities.
        if self._client is None:
            self._client = httpx2.AsyncClient(
                timeout=httpx2.Timeout(
                    self._timeout_s, connect=min(_CONNECT_TIMEOUT_S, self._timeout_s), pool=None
                ),
                limits=httpx2.Limits(
                    max_connections=None, max_keepalive_connections=_IDLE_CONNECTIONS_MAX
                ),
            )
        return self._client

    async def _chunks(self, response: httpx2.Response) -> AsyncIterator[bytes]:
        try:
            async for chunk in response.aiter_bytes():
                yield chunk
        except httpx2.TimeoutException as error:
            raise self._silent() from error
        except httpx2.HTTPError as error:
            raise ModelProtocol(
                f"The connection to the model server at {self._base_url} broke off in the middle "
                f"of its answer{_because(error)}."
            ) from error

    def _silent(self) -> ModelTimeout:
        return ModelTimeout(
            f"The model server at {self._base_url} said nothing for {self._timeout_s:g} s."
        )


def _because(error: Exception) -> str:
    return f": {error}" if str(error) else ""
