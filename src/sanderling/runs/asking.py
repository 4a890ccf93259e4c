"""
What a turn asks of the model: the conversation so far, and what it may call now. Pure.

A forced call is forced in the first turn only, or the run would never end. Once the code calls of a
run are used up the code tool is offered no more; the client's own functions do not count and stay.
In the last turn nothing may be called, so that the model answers with what it has.
"""

from __future__ import annotations

from typing import Any, assert_never

from sanderling.models.base import CODE_TOOL_NAME, TurnRequest
from sanderling.records import FunctionTool, RunRequest
from sanderling.runs.transcript import Message


def functions_of(request: RunRequest) -> list[FunctionTool]:
    """Return the client's own functions."""
    return [tool for tool in request.tools if isinstance(tool, FunctionTool)]


def turn_request(
    request: RunRequest,
    messages: tuple[Message, ...],
    *,
    offers_code: bool,
    is_first: bool,
    is_last: bool,
    is_code_used_up: bool,
    output_tokens: int,
) -> TurnRequest:
    """
    Return the request for one turn.

    Args:
        offers_code: whether the run has a code tool at all.
        is_code_used_up: whether `max_tool_calls` is reached.
        output_tokens: what the turns before have used of `max_output_tokens`.
    """
    limit = request.max_output_tokens
    functions = functions_of(request)
    choice = _tool_choice(request, is_first=is_first, is_last=is_last)
    if is_code_used_up and choice != "none":
        offers_code = False
        choice = choice if functions and choice != CODE_TOOL_NAME else "none"
    return TurnRequest(
        model=request.model,
        messages=messages,
        functions=tuple(_declared(tool) for tool in functions),
        offers_code=offers_code,
        tool_choice=choice,
        temperature=request.temperature,
        top_p=request.top_p,
        max_output_tokens=None if limit is None else limit - output_tokens,
        parallel_tool_calls=request.parallel_tool_calls,
        text_format=request.text_format,
        reasoning_effort=request.reasoning_effort,
        execution_timeout_s=request.execution_timeout_s,
        options=request.model_options,
    )


def _tool_choice(request: RunRequest, *, is_first: bool, is_last: bool) -> str:
    choice = request.tool_choice
    if is_last or choice.mode == "none":
        return "none"
    if not is_first:
        return "auto"
    match choice.mode:
        case "auto" | "required":
            return choice.mode
        case "code":
            return CODE_TOOL_NAME
        case "function":
            return choice.name or "auto"
        case _:
            assert_never(choice.mode)


def _declared(tool: FunctionTool) -> dict[str, Any]:
    """Return a client's function as chat completions declare one."""
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.parameters}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}
