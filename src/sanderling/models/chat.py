"""
Any model server that speaks OpenAI's chat completions, through the `openai` SDK.

One turn is at most two attempts. The first streams. If it breaks in a way that a second attempt
can be told as its continuation (see `assembler`), the second asks for the whole reply at once:
servers whose streaming of tool calls is at fault are right when they do not stream.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

import openai

from sanderling.errors import (
    ModelError,
    ModelProtocol,
    ModelRefused,
    ModelTimeout,
    PromptTooLong,
)
from sanderling.models.assembler import Broken, TurnAssembler
from sanderling.models.base import ModelEvent, Relayed, TurnRequest
from sanderling.models.code_tool import request_body
from sanderling.models.formats import Formats
from sanderling.models.offer import Offer
from sanderling.models.relay import Relay
from sanderling.models.text_protocol import as_text

# Connecting to a server that is there takes milliseconds; ten seconds also covers a far one.
_CONNECT_TIMEOUT_S = 10.0
# Of a server's own words at most this much is shown; some answer with a page of HTML.
_MESSAGE_CHARS_MAX = 500
# What decoding JSON raises: not JSON or not UTF-8, and nested too deeply.
_UNREADABLE = (ValueError, RecursionError)
_HINTS = {
    400: "It does not accept this request.",
    401: "Check the key in SANDERLING_MODEL_KEY.",
    403: "Check the key in SANDERLING_MODEL_KEY and what it may use.",
    404: "Check --model-url and the name of the model.",
    413: "The conversation is too long for it.",
    422: "It does not accept this request.",
    429: "It limits how much may be asked; try again later.",
}
# How servers say that (OpenAI, vLLM, llama.cpp, LM Studio, TGI, Anthropic's and Google's dialects).
_TOO_LONG = re.compile(
    r"context[ _-]?(length|size|window)|prompt is too long|reduce the length of|too many tokens"
    r"|input token count|exceeds? the (maximum|available|model)",
    re.IGNORECASE,
)
_TOO_LONG_STATUSES = (400, 413, 422, 500)


class ChatModel:
    """
    A model server at `base_url` (with its `/v1`).

    Args:
        api_key: sent as bearer token; local servers need none.
        model_name: asked for in place of whatever the request names.
        timeout_s: longest silence of the server, repetitions by the SDK included.
        execution_timeout_s: the cell's wall-clock limit, told to the model.
        text_calls: also take calls that the model wrote into its text; where the server refuses
            tools, the model is told in text how to call.
        max_retries: repetitions on 408, 409, 429, 5xx and refused connections, before any answer.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        model_name: str | None = None,
        timeout_s: float = 600.0,
        execution_timeout_s: float = 60.0,
        text_calls: bool = False,
        max_retries: int = 2,
    ) -> None:
        self._base_url = base_url
        self._model_name = model_name
        self._timeout_s = timeout_s
        self._execution_timeout_s = execution_timeout_s
        self._text_calls = text_calls
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=api_key or "none",
            max_retries=max_retries,
            timeout=openai.Timeout(timeout_s, connect=min(_CONNECT_TIMEOUT_S, timeout_s)),
        )
        self._relay = Relay(base_url, api_key=api_key, timeout_s=timeout_s)
        # What this server was found not to take; learned once, so that it costs one request.
        self._takes_stream_options: bool | None = None
        self._wants_completion_tokens = False
        self._takes_tools = True
        self._formats = Formats()

    async def stream(self, request: TurnRequest) -> AsyncIterator[ModelEvent]:
        """See `Model.stream`."""
        model = self._model_name or request.model
        body = request_body(request, model=model, execution_timeout_s=self._execution_timeout_s)
        offer = Offer.of(request, text_calls=self._text_calls)
        assembler = TurnAssembler(offer, model=model)
        failure: ModelError | None = None
        async with aclosing(self._attempt(assembler, body)) as events:
            try:
                async for event in events:
                    yield event
            except _BrokenOff as broken:
                failure = broken.error
        if failure is None:
            return
        if not assembler.is_recoverable:
            raise failure
        reply = await self._ask(body)
        try:
            recovered = assembler.recover(reply)
        except RecursionError as error:
            raise self._model_error(error) from error
        for event in recovered:
            yield event

    def relay(self, body: Mapping[str, Any]) -> AbstractAsyncContextManager[Relayed]:
        """See `Model.relay`."""
        renamed = {} if self._model_name is None else {"model": self._model_name}
        return self._relay.open({**body, **renamed})

    async def names(self) -> list[str]:
        """See `Model.names`."""
        try:
            async with asyncio.timeout(self._timeout_s):
                listing = await self._client.get("/models", cast_to=object)
        except (openai.OpenAIError, TimeoutError) as error:
            raise self._model_error(error) from error
        models = listing.get("data") if isinstance(listing, Mapping) else None
        if not isinstance(models, list):
            raise ModelProtocol(f"The model server at {self._base_url} sent no list of models.")
        return [str(m["id"]) for m in models if isinstance(m, Mapping) and "id" in m]

    async def aclose(self) -> None:
        """See `Model.aclose`."""
        await self._client.close()
        await self._relay.aclose()

    # ---- one attempt ---------------------------------------------------------------------------

    async def _attempt(
        self, assembler: TurnAssembler, body: dict[str, Any]
    ) -> AsyncGenerator[ModelEvent, None]:
        """
        Yield the events of the streamed attempt.

        Raises:
            ModelRefused, ModelTimeout: before anything was answered.
            _BrokenOff: the answer began and cannot stand.
        """
        answer = await self._open(body)
        try:
            while True:
                try:
                    async with asyncio.timeout(self._timeout_s):
                        chunk = await anext(answer)
                    events = assembler.feed(chunk)
                except StopAsyncIteration:
                    break
                except (*_UNREADABLE, openai.OpenAIError, TimeoutError, ModelError) as error:
                    if assembler.has_ended:
                        break  # all there was to say has been said
                    raise self._broken(error) from error
                for event in events:
                    yield event
        finally:
            await answer.close()
        match assembler.finish():
            case Broken(reason):
                raise _BrokenOff(ModelProtocol(reason))
            case events:
                for event in events:
                    yield event

    async def _open(self, body: dict[str, Any]) -> openai.AsyncStream[object]:
        """Return the stream of chunks, once the server has begun to answer."""
        while True:
            streamed = self._adapted(body) | {"stream": True}
            if self._takes_stream_options is not False:
                streamed["stream_options"] = {"include_usage": True}
            try:
                async with asyncio.timeout(self._timeout_s):
                    answer = await self._client.post(
                        "/chat/completions",
                        body=streamed,
                        cast_to=object,
                        stream=True,
                        stream_cls=openai.AsyncStream[object],
                    )
            except (openai.OpenAIError, TimeoutError) as error:
                if not self._learn(error, streamed):
                    raise self._model_error(error) from error
            else:
                if "stream_options" in streamed:
                    self._takes_stream_options = True
                return answer

    async def _ask(self, body: dict[str, Any]) -> object:
        """Return the whole reply, as decoded JSON."""
        while True:
            sent = self._adapted(body)
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await self._client.post("/chat/completions", body=sent, cast_to=object)
            except (*_UNREADABLE, openai.OpenAIError, TimeoutError) as error:
                if not self._learn(error, sent):
                    raise self._model_error(error) from error

    def _adapted(self, body: dict[str, Any]) -> dict[str, Any]:
        body = self._formats.adapt(body)
        if not self._takes_tools:
            body = as_text(body)
        if not self._wants_completion_tokens or "max_tokens" not in body:
            return body
        rest = {key: value for key, value in body.items() if key != "max_tokens"}
        return rest | {"max_completion_tokens": body["max_tokens"]}

    def _learn(self, error: Exception, sent: dict[str, Any]) -> bool:
        """Return whether `error` taught something about this server that is worth another try."""
        if not isinstance(error, openai.APIStatusError) or error.status_code not in (400, 422):
            return False
        complaint = f"{error.message} {error.body}"
        if "max_tokens" in sent and "max_completion_tokens" in complaint:
            self._wants_completion_tokens = True
            return True
        if self._formats.learn(complaint, sent):
            return True
        if self._text_calls and "tools" in sent and re.search(r"\btool", complaint):
            self._takes_tools = False
            return True
        # Few servers say what it is that they do not know, so the first refusal is tested by
        # leaving stream_options out; once it was taken, a refusal is about something else.
        if "stream_options" in sent and (
            self._takes_stream_options is None or "stream_options" in complaint
        ):
            self._takes_stream_options = False
            return True
        return False

    # ---- what went wrong -----------------------------------------------------------------------

    def _broken(self, error: Exception) -> ModelError | _BrokenOff:
        """Return what to raise for an answer that broke off: silence is final, the rest is not."""
        match error:
            case ModelError():
                return _BrokenOff(error)
            case openai.APITimeoutError() | TimeoutError():
                return self._model_error(error)
            case openai.APIConnectionError():
                cause = _because(error.__cause__)
                return _BrokenOff(
                    ModelProtocol(
                        f"The connection to the model server at {self._base_url} broke off in the "
                        f"middle of its answer{cause}."
                    )
                )
            case _:
                return _BrokenOff(self._model_error(error))

    def _model_error(self, error: Exception) -> ModelError:
        match error:
            case openai.APIStatusError():
                return self._refusal(error)
            case openai.APITimeoutError() | TimeoutError():
                return ModelTimeout(
                    f"The model server at {self._base_url} said nothing for {self._timeout_s:g} s."
                )
            case openai.APIConnectionError():
                return ModelTimeout(
                    f"The connection to the model server at {self._base_url} failed"
                    f"{_because(error.__cause__)}. Check --model-url, and that it runs."
                )
            case openai.APIError():
                return ModelRefused(f"The model server ended the answer: {_shorten(error.message)}")
            case _:
                return ModelProtocol(
                    f"The model server at {self._base_url} sent something that is not a chat "
                    f"completion{_because(error)}."
                )

    def _refusal(self, error: openai.APIStatusError) -> ModelRefused:
        said = _server_message(error)
        is_too_long = error.status_code in _TOO_LONG_STATUSES and _TOO_LONG.search(
            f"{said} {error.body}"
        )
        hint = _HINTS.get(413 if is_too_long else error.status_code, "Its own log may say why.")
        return (PromptTooLong if is_too_long else ModelRefused)(
            f"The model server answered {error.status_code}: {said} {hint}",
            status=error.status_code,
        )


class _BrokenOff(Exception):
    """An attempt that began and cannot stand; `error` is what to raise if it cannot be repeated."""

    def __init__(self, error: ModelError) -> None:
        super().__init__(error.message)
        self.error = error


def _server_message(error: openai.APIStatusError) -> str:
    """Return the server's own words; servers put them in different places, or write HTML."""
    body = error.body
    if isinstance(body, Mapping):
        inner = body.get("error")
        for holder in (body, inner if isinstance(inner, Mapping) else {}):
            for key in ("message", "detail", "error"):
                if isinstance(words := holder.get(key), str) and words:
                    return _sentence(words)
    if isinstance(body, str) and body.strip() and not body.lstrip().startswith("<"):
        return _sentence(body)
    return "no message." if body is None or isinstance(body, str) else _sentence(str(body))


def _because(cause: BaseException | None) -> str:
    return f": {_shorten(str(cause))}" if cause is not None and str(cause) else ""


def _sentence(text: str) -> str:
    text = _shorten(text)
    return text if text.endswith((".", "!", "?", "…")) else text + "."


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MESSAGE_CHARS_MAX else text[:_MESSAGE_CHARS_MAX] + "…"
