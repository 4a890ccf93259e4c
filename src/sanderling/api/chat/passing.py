"""
A chat completion that the model server answers: its bytes go to the client as they come.

Only an error is read, up to a limit, and told in OpenAI's shape, whatever shape it came in. What is
wrong between this server and the model server (its key, its way) is no error of the client's.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sanderling.api import errors, sse
from sanderling.errors import ModelError, ModelProtocol, ModelRefused
from sanderling.models.base import Relayed
from sanderling.observe import logs

# What is read of an error; servers that put a page of HTML around it are not worth more.
ERROR_BYTES_MAX = 64 << 10
# What is told of a server's own words.
_MESSAGE_CHARS_MAX = 2000
_EVENTS, _JSON = "text/event-stream", "application/json"
# Statuses that are about this server's key or place, not about the request.
_OPERATORS = frozenset({401, 403, 407})


async def pass_on(opening: AbstractAsyncContextManager[Relayed], stack: AsyncExitStack) -> Response:
    """
    Return the reply that relays an answer; closing `stack` ends the request at the model server.

    Raises:
        ModelError: there is no answer, or none that could be one.
    """
    answer = await stack.enter_async_context(opening)
    if answer.status != 200:
        return await _refusal(answer)
    kind = answer.content_type.partition(";")[0].strip().lower()
    if kind not in (_EVENTS, _JSON):
        raise ModelProtocol(
            f"The model server answered with '{kind[:100]}', which is no chat completion. "
            "Check --model-url."
        )
    return _Passage(answer, is_stream=kind == _EVENTS)


class _Passage(sse.EventStream):
    """Sends an answer's bytes as they come; its pauses are the model server's to fill."""

    def __init__(self, answer: Relayed, *, is_stream: bool) -> None:
        super().__init__(_bytes(answer, is_stream=is_stream))
        self.headers["content-type"] = answer.content_type
        self.headers.update(answer.headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except* ModelError as broken:
            # The reply is left unfinished, which closes the connection: half is not the whole.
            for error in broken.exceptions:
                logs.warning("relay.broken", reason=str(error))

    async def _keep_alive(self, _send: Send) -> None:
        """A comment could land in the middle of an event."""


async def _bytes(answer: Relayed, *, is_stream: bool) -> AsyncGenerator[bytes, None]:
    end = b"\n\n"
    try:
        async for chunk in answer.chunks:
            end = (end + chunk)[-4:]
            yield chunk
    except ModelError as error:
        if not is_stream or not end.endswith((b"\n\n", b"\r\n\r\n")):
            raise
        yield sse.data(errors.body_of(error))


async def _refusal(answer: Relayed) -> Response:
    content = b""
    async for chunk in answer.chunks:
        content += chunk
        if len(content) >= ERROR_BYTES_MAX:
            break
    told = _error(content[:ERROR_BYTES_MAX])
    if answer.status in _OPERATORS or not 400 <= answer.status < 600:
        raise ModelRefused(
            f"The model server answered {answer.status}: {told['message']} Check --model-url, and "
            "the key in SANDERLING_MODEL_KEY and what it may use.",
            status=answer.status,
        )
    kind = "invalid_request_error" if answer.status < 500 else "server_error"
    return Response(
        orjson.dumps(
            errors.body(
                told["message"],
                type=told["type"] or kind,
                param=told["param"],
                code=told["code"],
            )
        ),
        status_code=answer.status,
        media_type=_JSON,
        headers=dict(answer.headers),
    )


def _error(content: bytes) -> dict[str, Any]:
    """Return what a server says is wrong; servers put it in different places."""
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        value = None
    holder = value if isinstance(value, Mapping) else {}
    inner = holder.get("error")
    holders = (inner if isinstance(inner, Mapping) else {}, holder)
    words = next(
        (
            text
            for each in holders
            for key in ("message", "detail", "error")
            if isinstance(text := each.get(key), str) and text
        ),
        "It said nothing that could be read.",
    )
    if len(words) > _MESSAGE_CHARS_MAX:
        words = words[: _MESSAGE_CHARS_MAX - 1] + "…"
    return {"message": words, **{name: _name(holders, name) for name in ("type", "param", "code")}}


def _name(holders: tuple[Mapping[str, Any], ...], key: str) -> str | None:
    value = next((each[key] for each in holders if each.get(key) is not None), None)
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)[:_MESSAGE_CHARS_MAX]
    return None
