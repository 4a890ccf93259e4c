"""The `python` tool as a chat model is told about it, and what a request looks like on the wire."""

from __future__ import annotations

from typing import Any

from sanderling.models.base import CODE_TOOL_NAME, TurnRequest
from sanderling.records import TextFormat

_DESCRIPTION = """\
Runs Python source in a private, stateful notebook-like session and shows what happened.

- Variables, imports and functions stay defined from one call to the next.
- The value of the last expression is shown, and so is everything printed; the same goes for errors.
- Files are in /mnt/data: those the user gave, and those you write there for the user.
- Figures drawn with matplotlib are shown to the user by themselves.
- Nothing can be installed.
- A call may take {seconds:g} seconds; a longer one is stopped.\
"""


def schema(execution_timeout_s: float) -> dict[str, Any]:
    """Return the chat-completion `tools` entry of the code tool."""
    return {
        "type": "function",
        "function": {
            "name": CODE_TOOL_NAME,
            "description": _DESCRIPTION.format(seconds=execution_timeout_s),
            "parameters": {
                "type": "object",
                "properties": {
                    "code": {"type": "string", "description": "The Python source to run."}
                },
                "required": ["code"],
                "additionalProperties": False,
            },
        },
    }


def request_body(request: TurnRequest, *, model: str, execution_timeout_s: float) -> dict[str, Any]:
    """
    Return the chat-completion request for one turn, without what concerns streaming.

    Only what differs from the protocol's defaults is said: small servers refuse what they do not
    know, and few know everything.
    """
    tools = list(request.functions)
    if request.offers_code:
        tools.insert(0, schema(request.execution_timeout_s or execution_timeout_s))
    body: dict[str, Any] = {
        **request.options,
        "model": model,
        "messages": list(request.messages),
    }
    optional: dict[str, Any] = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_tokens": request.max_output_tokens,
        "reasoning_effort": request.reasoning_effort,
        "response_format": _response_format(request.text_format),
    }
    if tools:
        optional["tools"] = tools
        optional["tool_choice"] = _tool_choice(request.tool_choice)
        optional["parallel_tool_calls"] = request.parallel_tool_calls and None
    return body | {key: value for key, value in optional.items() if value is not None}


def _tool_choice(choice: str) -> str | dict[str, Any] | None:
    match choice:
        case "auto":
            return None
        case "none" | "required":
            return choice
        case name:
            return {"type": "function", "function": {"name": name}}


def _response_format(text_format: TextFormat) -> dict[str, Any] | None:
    match text_format.type:
        case "text":
            return None
        case "json_object":
            return {"type": "json_object"}
        case "json_schema":
            schema = {
                "name": text_format.name or "answer",
                "description": text_format.description,
                "schema": text_format.schema,
                "strict": text_format.strict,
            }
            given = {key: value for key, value in schema.items() if value is not None}
            return {"type": "json_schema", "json_schema": given}
