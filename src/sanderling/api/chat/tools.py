"""
The tools of a chat completion, and which of them the model must use. Pure.

`{"type": "code_interpreter"}` is not OpenAI's here; it is what the Responses API has under that
name, with the same `container`.

Source: OpenAI API reference, "Create chat completion", `tools` and `tool_choice`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, assert_never

from pydantic import Field, PlainValidator

from sanderling.api.responses import tools as responses
from sanderling.api.responses.tools import CodeInterpreter, Function
from sanderling.api.validation import RequestModel, by_json_type, by_type_field
from sanderling.errors import InvalidRequest
from sanderling.records import Tool, ToolChoice

_ELSEWHERE = frozenset({"custom"})


class FunctionTool(RequestModel):
    function: Function


ToolModel = Annotated[
    CodeInterpreter | FunctionTool,
    PlainValidator(
        by_type_field(
            {"code_interpreter": CodeInterpreter, "function": FunctionTool}, known=_ELSEWHERE
        )
    ),
]


class Named(RequestModel):
    name: Annotated[str, Field(min_length=1)]


class ChatChooseCode(RequestModel):
    pass


class ChatChooseFunction(RequestModel):
    function: Named


_Single = Annotated[
    ChatChooseCode | ChatChooseFunction,
    PlainValidator(
        by_type_field(
            {"code_interpreter": ChatChooseCode, "function": ChatChooseFunction}, known=_ELSEWHERE
        )
    ),
]


class AllowedTools(RequestModel):
    mode: Literal["auto", "required"]
    tools: Annotated[list[_Single], Field(min_length=1)]


class ChatChooseAllowed(RequestModel):
    allowed_tools: AllowedTools


_Mode = Literal["none", "auto", "required"]
Choice = str | ChatChooseCode | ChatChooseFunction | ChatChooseAllowed

ToolChoiceModel = Annotated[
    Choice,
    PlainValidator(
        by_json_type(
            "one of 'none', 'auto' and 'required', or an object",
            {
                str: _Mode,
                dict: Annotated[
                    Any,
                    PlainValidator(
                        by_type_field(
                            {
                                "code_interpreter": ChatChooseCode,
                                "function": ChatChooseFunction,
                                "allowed_tools": ChatChooseAllowed,
                            },
                            known=_ELSEWHERE,
                        )
                    ),
                ],
            },
        )
    ),
]


def tool_records(models: Sequence[CodeInterpreter | FunctionTool]) -> tuple[Tool, ...]:
    """
    Return the tools as records.

    Raises:
        InvalidRequest: two tools that could not be told apart, or a network policy that is none.
    """
    names: set[str] = set()
    for index, model in enumerate(models):
        if isinstance(model, FunctionTool):
            name, param = model.function.name, f"tools[{index}].function.name"
            if name in names:
                raise InvalidRequest(
                    f"Invalid '{param}': '{name}' is the name of another tool.",
                    param=param,
                    code="invalid_value",
                )
            names.add(name)
    return responses.tool_records(
        [model.function if isinstance(model, FunctionTool) else model for model in models]
    )


def choose(choice: Choice | None, tools: Sequence[Tool]) -> tuple[ToolChoice, tuple[Tool, ...]]:
    """
    Return what the run must do and the tools it may do it with.

    Raises:
        InvalidRequest: the choice needs a tool that is not in `tools`.
    """
    match choice:
        case None | str():
            return responses.choose(choice, tools)
        case ChatChooseCode() | ChatChooseFunction():
            return responses.choose(_single(choice), tools)
        case ChatChooseAllowed(allowed_tools=allowed):
            # Not validated again: what the validator of `tools` takes is JSON.
            theirs = responses.ChooseAllowed.model_construct(
                mode=allowed.mode, tools=[_single(each) for each in allowed.tools]
            )
            try:
                return responses.choose(theirs, tools)
            except InvalidRequest as error:
                error.param = (error.param or "").replace(".tools[", ".allowed_tools.tools[")
                raise
        case _:
            assert_never(choice)


def _single(
    choice: ChatChooseCode | ChatChooseFunction,
) -> responses.ChooseCode | responses.ChooseFunction:
    if isinstance(choice, ChatChooseCode):
        return responses.ChooseCode()
    return responses.ChooseFunction(name=choice.function.name)
