"""
Records as the Responses dialect shows them: the response and its items. Pure.

Outputs of code are shown only where the client asked for them with
`include=["code_interpreter_call.outputs"]`; they are stored either way.

Source: OpenAI API reference, "The response object"; key set as answered in 2026.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

from sanderling.records import (
    Citation,
    CodeCallItem,
    ErrorOutput,
    FilePart,
    FunctionCallItem,
    FunctionOutputItem,
    ImageOutput,
    ImagePart,
    Item,
    LogsOutput,
    MessageItem,
    Output,
    Part,
    ReasoningItem,
    RefusalPart,
    ResultOutput,
    Run,
    TextFormat,
    TextPart,
    Usage,
)

# Codes a response's error may carry; anything else would not be understood.
_ERROR_CODES = frozenset({"server_error", "rate_limit_exceeded", "invalid_prompt"})


def response_object(run: Run, output: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the response of `run` with its output items, which are wire objects already."""
    request, echo = run.request, run.request.echo
    has_ended = run.status not in ("queued", "in_progress")
    # A key that only a response in a conversation has.
    conversation = {"id": request.conversation_id}
    return {
        **({"conversation": conversation} if request.conversation_id else {}),
        "id": run.id,
        "object": "response",
        "created_at": int(run.created_at),
        "status": run.status,
        "background": False,
        "completed_at": _completed_at(run),
        "error": _error(run),
        "frequency_penalty": 0.0,
        "incomplete_details": _incomplete_details(run),
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": request.max_tool_calls,
        "metadata": echo.get("metadata", {}),
        "model": request.model,
        "moderation": None,
        "output": list(output),
        "parallel_tool_calls": request.parallel_tool_calls,
        "presence_penalty": 0.0,
        "previous_response_id": request.previous_run_id,
        "prompt_cache_key": echo.get("prompt_cache_key"),
        "prompt_cache_retention": echo.get("prompt_cache_retention"),
        "reasoning": {
            "effort": request.reasoning_effort,
            "summary": echo.get("reasoning_summary"),
        },
        "safety_identifier": echo.get("safety_identifier"),
        "service_tier": "default" if has_ended else "auto",
        "store": request.stored,
        # What OpenAI's default is; a client's type may not take null.
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "text": {
            "format": text_format_object(request.text_format),
            "verbosity": echo.get("verbosity", "medium"),
        },
        "tool_choice": echo.get("tool_choice", "auto"),
        "tools": echo.get("tools", []),
        "top_logprobs": echo.get("top_logprobs", 0),
        "top_p": 1.0 if request.top_p is None else request.top_p,
        "truncation": echo.get("truncation", "disabled"),
        "usage": _usage(run),
        "user": echo.get("user"),
    }


def _completed_at(run: Run) -> int | None:
    if run.status != "completed" or run.completed_at is None:
        return None
    return int(run.completed_at)


def _error(run: Run) -> dict[str, str] | None:
    if run.error is None:
        return None
    code = run.error.code if run.error.code in _ERROR_CODES else "server_error"
    return {"code": code, "message": run.error.message}


def _incomplete_details(run: Run) -> dict[str, str] | None:
    if run.status != "incomplete":
        return None
    return {"reason": run.incomplete_reason or "max_output_tokens"}


def _usage(run: Run) -> dict[str, Any] | None:
    usage = run.usage
    if usage is None:
        if run.status != "completed":
            return None
        usage = Usage()
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def text_format_object(format: TextFormat) -> dict[str, Any]:
    """Return the text format as a response shows it."""
    if format.type != "json_schema":
        return {"type": format.type}
    return {
        "type": "json_schema",
        "name": format.name,
        "description": format.description,
        "schema": format.schema,
        "strict": format.strict,
    }


# ---- items -------------------------------------------------------------------------------------


def item_object(item: Item, *, with_outputs: bool) -> dict[str, Any]:
    """Return an item of the input or the output; `with_outputs` shows what code printed."""
    match item:
        case MessageItem():
            return {
                "id": item.id,
                "type": "message",
                "status": item.status,
                "content": [part_object(part, item.role) for part in item.parts],
                "role": item.role,
            }
        case CodeCallItem():
            return {
                "id": item.id,
                "type": "code_interpreter_call",
                "status": item.status,
                "code": item.code,
                "container_id": item.container_id,
                "outputs": output_objects(item.outputs) if with_outputs else None,
            }
        case FunctionCallItem():
            return {
                "id": item.id,
                "type": "function_call",
                "status": item.status,
                "arguments": item.arguments,
                "call_id": item.call_id,
                "name": item.name,
            }
        case FunctionOutputItem():
            return {
                "id": item.id,
                "type": "function_call_output",
                "status": "completed",
                "call_id": item.call_id,
                "output": item.output,
            }
        case ReasoningItem():
            texts = [{"type": "reasoning_text", "text": item.text}] if item.text else []
            return {
                "id": item.id,
                "type": "reasoning",
                "summary": [],
                "content": texts,
                "encrypted_content": item.encrypted_content,
            }
        case _:
            assert_never(item)


def part_object(part: Part, role: str) -> dict[str, Any]:
    """Return a part of a message; text that the model wrote has another type than text for it."""
    match part:
        case TextPart() if role == "assistant":
            return {
                "type": "output_text",
                "annotations": [annotation_object(each) for each in part.citations],
                "logprobs": [],
                "text": part.text,
            }
        case TextPart():
            return {"type": "input_text", "text": part.text}
        case RefusalPart():
            return {"type": "refusal", "refusal": part.refusal}
        case ImagePart():
            return {
                "type": "input_image",
                "detail": part.detail,
                "file_id": part.file_id,
                "image_url": part.url,
            }
        case FilePart():
            return {"type": "input_file", "file_id": part.file_id, "filename": part.filename}
        case _:
            assert_never(part)


def annotation_object(citation: Citation) -> dict[str, Any]:
    """Return a citation with all six fields; clients break on any that is absent."""
    return {
        "type": "container_file_citation",
        "container_id": citation.container_id,
        "file_id": citation.file_id,
        "filename": citation.filename,
        "start_index": citation.start,
        "end_index": citation.end,
    }


def output_objects(outputs: Sequence[Output]) -> list[dict[str, Any]]:
    """
    Return what code showed as the wire's two kinds: logs and images, in the order they happened.

    The wire's logs do not tell stdout from stderr, so a burst that used both is one entry.
    """
    shown: list[dict[str, Any]] = []
    is_burst = False
    for output in outputs:
        if isinstance(output, LogsOutput) and is_burst:
            shown[-1]["logs"] += output.logs
        else:
            shown.append(output_object(output))
        is_burst = isinstance(output, LogsOutput)
    return shown


def output_object(output: Output) -> dict[str, Any]:
    """Return one output as logs or as an image."""
    match output:
        case LogsOutput():
            return {"type": "logs", "logs": output.logs}
        case ResultOutput():
            return {"type": "logs", "logs": output.text}
        case ErrorOutput():
            return {"type": "logs", "logs": output.traceback or f"{output.name}: {output.message}"}
        case ImageOutput():
            return {"type": "image", "url": output.data_url}
        case _:
            assert_never(output)
