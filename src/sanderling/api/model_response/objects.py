"""
Records as `model/response` shows them: calls of code, whose outputs are texts, and messages. Pure.

Source: Aitronos API reference, "The response object"; "Code interpreter", of 2026.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

from sanderling.records import (
    CodeCallItem,
    ErrorOutput,
    ImageOutput,
    LogsOutput,
    MessageItem,
    Output,
    RefusalPart,
    ResultOutput,
    Run,
    TextPart,
    Usage,
)


def response_object(run: Run, output: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the response of a run that has ended, with its items."""
    echo = run.request.echo
    return {
        "success": True,
        "id": run.id,
        "object": "response",
        "created_at": int(run.created_at),
        "status": run.status,
        "organization_id": echo.get("organization_id"),
        "assistant_id": echo.get("assistant_id"),
        "model": run.request.model,
        "output": list(output),
        **ending(run),
    }


def ending(run: Run) -> dict[str, Any]:
    """Return what there is to say of how a run ended."""
    usage = run.usage or Usage()
    told: dict[str, Any] = {
        "usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens + usage.output_tokens,
        }
    }
    if run.status == "incomplete":
        told["incomplete_details"] = {"reason": run.incomplete_reason or "max_output_tokens"}
    return told


def code_object(item: CodeCallItem) -> dict[str, Any]:
    """Return a call of code and what it showed."""
    return {
        "type": "code_interpreter_call",
        "id": item.id,
        "status": item.status,
        "code": item.code,
        "outputs": [output_object(output) for output in _bursts(item.outputs)],
    }


def message_object(item: MessageItem) -> dict[str, Any]:
    """Return a message of the model's."""
    content: list[dict[str, Any]] = []
    for part in item.parts:
        match part:
            case TextPart(text=text):
                content.append({"type": "output_text", "text": text})
            case RefusalPart(refusal=refusal):
                content.append({"type": "refusal", "refusal": refusal})
            case _:
                raise AssertionError(f"a model does not write a {part.type} part")
    return {
        "type": "message",
        "id": item.id,
        "status": item.status,
        "role": "assistant",
        "content": content,
    }


def _bursts(outputs: Sequence[Output]) -> list[Output]:
    """Return the outputs with what was written to both streams in one burst as one."""
    joined: list[Output] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if isinstance(output, LogsOutput) and isinstance(last, LogsOutput):
            joined[-1] = LogsOutput(last.stream, last.logs + output.logs)
        else:
            joined.append(output)
    return joined


def output_object(output: Output) -> dict[str, Any]:
    """Return one output: text without its last line feed; a picture, which that API has not."""
    match output:
        case LogsOutput(logs=text) | ResultOutput(text=text):
            return {"type": "text", "text": text.removesuffix("\n")}
        case ErrorOutput():
            text = output.traceback or f"{output.name}: {output.message}"
            return {"type": "text", "text": text.removesuffix("\n")}
        case ImageOutput():
            return {"type": "image", "url": output.data_url}
        case _:
            assert_never(output)
