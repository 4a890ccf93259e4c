"""
One question over the Responses API with the official SDK, shown while it is answered.

This is a client like any other: it talks to a base URL and knows nothing of the server's inside,
so it works as well against a server on another machine. The one thing it asks for that OpenAI does
not offer is live output of the running code, which is opt-in.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import click
import openai
from openai import AsyncOpenAI
from rich.console import Console

from sanderling.cli import saving, terminal
from sanderling.cli.saving import SavedFile
from sanderling.errors import ModelError, SetupError

_EXIT_FAILED = 1
_EXIT_TIMED_OUT = 124
# Long enough for a model that thinks and code that computes; --timeout is the user's own limit.
_SILENCE_S_MAX = 1800.0


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask, and with what."""

    prompt: str
    files: tuple[Path, ...]
    model: str | None
    instructions: str | None
    memory_limit: str
    environment: str | None = None  # of the server's; None: its usual one


class Answer(Protocol):
    """How an answer is shown to the user."""

    def show(self, event: Any) -> None:
        """Show one event of the stream, now or at the end."""
        ...

    def finish(self, response: Any, saved: list[SavedFile]) -> None:
        """Show the end and where the files are."""
        ...


async def ask(
    base_url: str,
    api_key: str | None,
    question: Question,
    answer: Answer,
    out: Path,
    *,
    timeout_s: float | None,
) -> int:
    """
    Ask, show, save the files that were made in `out`; return the exit code.

    Raises:
        SanderlingError: the server cannot be used, or refused the question.
    """
    # A key must be given to the SDK; a server without keys does not look at it.
    key = api_key or "none"
    async with AsyncOpenAI(base_url=base_url, api_key=key, timeout=_SILENCE_S_MAX) as client:
        with sdk_errors_as_ours(base_url):
            try:
                async with asyncio.timeout(timeout_s):
                    response = await _stream(client, question, answer)
                    saved = await save_cited(client, response, out)
            except TimeoutError:
                click.echo(f"No answer within {timeout_s:g} s; given up.", err=True)
                return _EXIT_TIMED_OUT
    answer.finish(response, saved)
    return 0 if response.status == "completed" else _EXIT_FAILED


@contextlib.contextmanager
def sdk_errors_as_ours(base_url: str) -> Iterator[None]:
    """Raise what the SDK raises inside as errors of ours, which are one sentence."""
    try:
        yield
    except openai.APITimeoutError as error:
        raise ModelError(f"{base_url} did not answer in time.") from error
    except openai.APIConnectionError as error:
        reason = str(error.__cause__ or error).rstrip(".")
        raise SetupError(f"{base_url} cannot be reached: {reason}.") from error
    except openai.APIStatusError as error:
        raise ModelError(_told(error, base_url)) from error
    except openai.APIError as error:
        raise ModelError(error.message) from error


def _told(error: openai.APIStatusError, base_url: str) -> str:
    """Return the server's own sentence, and what to do where a flag was probably wrong."""
    body: object = error.body
    words = body.get("message") if isinstance(body, dict) else None
    told = words if isinstance(words, str) and words else error.message
    match error.status_code:
        case 401:
            return f"{told} Give a key of this server with --api-key or SANDERLING_API_KEY."
        case 404 | 405 if not base_url.rstrip("/").endswith("/v1"):
            return (
                f"{told}. The path of a base URL usually ends with /v1: {base_url.rstrip('/')}/v1"
            )
    return told


async def _stream(client: AsyncOpenAI, question: Question, answer: Answer) -> Any:
    content: list[Any] = [{"type": "input_text", "text": question.prompt}]
    for path in question.files:
        with path.open("rb") as source:
            uploaded = await client.files.create(file=source, purpose="user_data")
        content.append({"type": "input_file", "file_id": uploaded.id})
    model = question.model or await _first_model(client)
    container: Any = {"type": "auto", "memory_limit": question.memory_limit}
    if question.environment is not None:
        container["environment"] = question.environment
    stream: Any = await client.responses.create(
        model=model,
        instructions=question.instructions,
        input=[{"role": "user", "content": content}],
        tools=[{"type": "code_interpreter", "container": container}],
        include=["code_interpreter_call.outputs"],
        stream=True,
        extra_body={"stream_options": {"include_output_deltas": True}},
    )
    response: Any = None
    try:
        async for event in stream:
            response = getattr(event, "response", None) or response
            if event.type == "error":
                raise ModelError(event.message)
            answer.show(event)
    except asyncio.CancelledError:
        await _abandon(client, response)
        raise
    finally:
        await stream.close()
    if response is None or response.status not in {"completed", "incomplete", "failed"}:
        raise ModelError("The server closed the stream before the answer was complete.")
    return response


async def _first_model(client: AsyncOpenAI) -> str:
    async for model in client.models.list():
        return model.id
    raise SetupError("The server offers no model; name one with --model.")


async def _abandon(client: AsyncOpenAI, response: Any) -> None:
    """Stop what the server still does for us; nobody waits for it any more."""
    if response is not None:
        with contextlib.suppress(openai.APIError, TimeoutError):
            async with asyncio.timeout(3):
                await client.responses.delete(response.id)


def citations(response: Any) -> Iterator[Any]:
    """Yield the citation of each file that the response's code made, once per file."""
    seen: set[str] = set()
    for item in response.output:
        for part in item.content or [] if item.type == "message" else []:
            for note in getattr(part, "annotations", None) or []:
                if note.type == "container_file_citation" and note.file_id not in seen:
                    seen.add(note.file_id)
                    yield note


async def save_cited(client: AsyncOpenAI, response: Any, out: Path) -> list[SavedFile]:
    """Download every file that the response cites into `out`. Raises what the SDK raises."""
    saved: list[SavedFile] = []
    for note in citations(response):
        content = client.containers.files.content.with_streaming_response.retrieve(
            note.file_id, container_id=note.container_id
        )
        async with content as body:
            saved.append(await saving.save(out, note.filename, body.iter_bytes()))
    return saved


class LiveAnswer:
    """Code, its output and the text as they come; colours on a terminal only."""

    def __init__(self) -> None:
        self._out: Console = terminal.console(sys.stdout)
        self._err: Console = terminal.console(sys.stderr)
        self._ends_line = True
        self._shown_live: set[str] = set()  # calls whose output came as it was printed
        self._live_index = 0

    def show(self, event: Any) -> None:
        match event.type:
            case "response.code_interpreter_call_code.delta":
                self._write(event.delta, "cyan")
            case "response.code_interpreter_call_code.done":
                self._end_block()
            case "response.code_interpreter_call_output.delta":
                self._show_live(event)
            case "response.output_item.done" if event.item.type == "code_interpreter_call":
                self._show_outputs(event.item)
            case "response.output_text.delta" | "response.refusal.delta":
                self._write(event.delta, "")
            case "response.output_text.done" | "response.refusal.done":
                self._end_line()

    def _show_live(self, event: Any) -> None:
        self._shown_live.add(event.item_id)
        if event.output["index"] != self._live_index:
            self._end_line()
        self._live_index = event.output["index"]
        if event.output["type"] == "logs":
            self._write(event.output["logs"], "dim")

    def _show_outputs(self, call: Any) -> None:
        """Show what a server without live output tells when the code is over."""
        for output in call.outputs or []:
            if output.type == "logs" and call.id not in self._shown_live:
                self._end_line()
                self._write(output.logs, "dim")
        self._end_block()

    def finish(self, response: Any, saved: list[SavedFile]) -> None:
        self._end_line()
        if response.status == "failed":
            reason = response.error.message if response.error else "no reason was given"
            self._err.print(terminal.harmless(f"The answer failed: {reason}"), style="red")
        elif response.status == "incomplete":
            details = response.incomplete_details
            reason = details.reason if details else "no reason was given"
            self._err.print(terminal.harmless(f"The answer is incomplete: {reason}"), style="red")
        for file in saved:
            self._err.print(f"Saved {file.saved_to}", style="green")

    def _write(self, text: str, style: str) -> None:
        if text:
            shown = terminal.harmless(text) if self._out.is_terminal else text
            self._out.print(shown, end="", style=style or None)
            self._out.file.flush()
            self._ends_line = text.endswith("\n")

    def _end_block(self) -> None:
        self._end_line()
        self._out.print()

    def _end_line(self) -> None:
        if not self._ends_line:
            self._out.print()
            self._ends_line = True


class JsonAnswer:
    """One object: answer, status, code calls with their outputs, files, usage."""

    def show(self, event: Any) -> None:
        """Nothing: the final response holds it all."""

    def finish(self, response: Any, saved: list[SavedFile]) -> None:
        calls = [item for item in response.output if item.type == "code_interpreter_call"]
        answer = {
            "id": response.id,
            "status": response.status,
            "model": response.model,
            "answer": response.output_text,
            "error": response.error.message if response.error else None,
            "code_calls": [
                {
                    "code": call.code,
                    "container_id": call.container_id,
                    "status": call.status,
                    "outputs": [output.to_dict() for output in call.outputs or []],
                }
                for call in calls
            ],
            "files": [
                {"filename": f.path, "bytes": f.bytes, "saved_to": str(f.saved_to)} for f in saved
            ],
            "usage": response.usage.to_dict() if response.usage else None,
        }
        click.echo(json.dumps(answer, ensure_ascii=False))
