"""
The tools of a response, and which of them the model must use.

Source: OpenAI API reference, "Create a model response", `tools` and `tool_choice`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, assert_never

from pydantic import Field, PlainValidator

from sanderling.api.network import NetworkPolicy, asked_domains, policy_object
from sanderling.api.validation import EnvironmentName, RequestModel, by_json_type, by_type_field
from sanderling.errors import InvalidRequest
from sanderling.models.base import CODE_TOOL_NAME
from sanderling.records import (
    AutoContainer,
    CodeTool,
    FunctionTool,
    MemoryTier,
    Tool,
    ToolChoice,
)

TOOLS_MAX = 128
FILE_IDS_MAX = 50

_ELSEWHERE = frozenset(
    {
        "apply_patch",
        "computer",
        "computer_use",
        "computer_use_preview",
        "custom",
        "file_search",
        "image_generation",
        "local_shell",
        "mcp",
        "namespace",
        "programmatic_tool_calling",
        "shell",
        "tool_search",
        "web_search",
        "web_search_2025_08_26",
        "web_search_preview",
        "web_search_preview_2025_03_11",
    }
)


class Auto(RequestModel):
    file_ids: Annotated[list[str], Field(max_length=FILE_IDS_MAX)] | None = None
    memory_limit: MemoryTier | None = None
    network_policy: NetworkPolicy | None = None
    environment: EnvironmentName | None = None


class CodeInterpreter(RequestModel):
    """`container` may be left out, unlike OpenAI's: several clients do, and mean `auto`."""

    container: (
        Annotated[
            str | Auto,
            PlainValidator(
                by_json_type(
                    "a container id or an object",
                    {
                        str: Annotated[str, Field(min_length=1)],
                        dict: Annotated[Any, PlainValidator(by_type_field({"auto": Auto}))],
                    },
                )
            ),
        ]
        | None
    ) = None


class Function(RequestModel):
    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[a-zA-Z0-9_-]+$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


ToolModel = Annotated[
    CodeInterpreter | Function,
    PlainValidator(
        by_type_field({"code_interpreter": CodeInterpreter, "function": Function}, known=_ELSEWHERE)
    ),
]


class ChooseCode(RequestModel):
    pass


class ChooseFunction(RequestModel):
    name: Annotated[str, Field(min_length=1)]


class ChooseAllowed(RequestModel):
    mode: Literal["auto", "required"]
    tools: Annotated[
        list[
            Annotated[
                ChooseCode | ChooseFunction,
                PlainValidator(
                    by_type_field(
                        {"code_interpreter": ChooseCode, "function": ChooseFunction},
                        known=_ELSEWHERE,
                    )
                ),
            ]
        ],
        Field(min_length=1),
    ]


_Mode = Literal["none", "auto", "required"]

ToolChoiceModel = Annotated[
    _Mode | ChooseCode | ChooseFunction | ChooseAllowed,
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
                                "code_interpreter": ChooseCode,
                                "function": ChooseFunction,
                                "allowed_tools": ChooseAllowed,
                            },
                            known=_ELSEWHERE,
                        )
                    ),
                ],
            },
        )
    ),
]


# ---- to records --------------------------------------------------------------------------------


def tool_records(models: Sequence[CodeInterpreter | Function]) -> tuple[Tool, ...]:
    """
    Return the tools as records.

    Raises:
        InvalidRequest: two tools that could not be told apart, or a network policy that is none.
    """
    tools: list[Tool] = []
    names: set[str] = set()
    for index, model in enumerate(models):
        match model:
            case CodeInterpreter(container=container):
                name = CODE_TOOL_NAME  # a client's function cannot have it beside the tool
                tools.append(CodeTool(_container(container, f"tools[{index}].container")))
            case Function():
                name = model.name
                tools.append(
                    FunctionTool(
                        name=model.name,
                        description=model.description,
                        parameters=model.parameters or {},
                        strict=bool(model.strict),
                    )
                )
            case _:
                assert_never(model)
        if name in names:
            raise _twice(index, model, name)
        names.add(name)
    return tuple(tools)


def _container(model: str | Auto | None, param: str) -> AutoContainer | str:
    if isinstance(model, str):
        return model
    if model is None:
        return AutoContainer()
    return AutoContainer(
        file_ids=tuple(dict.fromkeys(model.file_ids or ())),
        memory_limit=model.memory_limit or "1g",
        allowed_domains=asked_domains(model.network_policy, f"{param}.network_policy"),
        environment=model.environment,
    )


def _twice(index: int, model: CodeInterpreter | Function, name: str) -> InvalidRequest:
    if isinstance(model, CodeInterpreter):
        why = "There can be only one code_interpreter tool, and no function named 'python' with it."
        return InvalidRequest(why, param=f"tools[{index}]", code="invalid_value")
    return InvalidRequest(
        f"Invalid 'tools[{index}].name': '{name}' is the name of another tool.",
        param=f"tools[{index}].name",
        code="invalid_value",
    )


def choose(
    choice: str | ChooseCode | ChooseFunction | ChooseAllowed | None, tools: Sequence[Tool]
) -> tuple[ToolChoice, tuple[Tool, ...]]:
    """
    Return what the run must do and the tools it may do it with.

    Raises:
        InvalidRequest: the choice needs a tool that is not in `tools`.
    """
    match choice:
        case None | "auto":
            return ToolChoice("auto"), tuple(tools)
        case "none":
            return ToolChoice("none"), tuple(tools)
        case "required":
            if not tools:
                raise InvalidRequest(
                    "Tool choice 'required' must be specified with 'tools' parameter.",
                    param="tool_choice",
                    code="invalid_value",
                )
            return ToolChoice("required"), tuple(tools)
        case ChooseCode() | ChooseFunction():
            return _must_call(_find(choice, tools, "tool_choice")), tuple(tools)
        case ChooseAllowed():
            allowed = tuple(
                dict.fromkeys(
                    tools.index(_find(each, tools, f"tool_choice.tools[{index}]"))
                    for index, each in enumerate(choice.tools)
                )
            )
            kept = tuple(tools[index] for index in allowed)
            if choice.mode == "required" and len(kept) == 1:
                return _must_call(kept[0]), kept
            return ToolChoice(choice.mode), kept
        case _:
            raise AssertionError(f"a tool choice passed the check that is none: {choice}")


def _must_call(tool: Tool) -> ToolChoice:
    return ToolChoice("code") if isinstance(tool, CodeTool) else ToolChoice("function", tool.name)


def _find(choice: ChooseCode | ChooseFunction, tools: Sequence[Tool], param: str) -> Tool:
    for tool in tools:
        match choice, tool:
            case ChooseCode(), CodeTool():
                return tool
            case ChooseFunction(name=name), FunctionTool(name=same) if name == same:
                return tool
            case _:
                continue
    name = "code_interpreter" if isinstance(choice, ChooseCode) else choice.name
    raise InvalidRequest(
        f"Tool choice '{name}' not found in 'tools' parameter.", param=param, code="invalid_value"
    )


# ---- back to the wire --------------------------------------------------------------------------


def tool_object(tool: Tool) -> dict[str, Any]:
    """Return the tool as a response shows it."""
    match tool:
        case CodeTool(container=AutoContainer() as auto):
            container: dict[str, Any] = {
                "type": "auto",
                "file_ids": list(auto.file_ids),
                "memory_limit": auto.memory_limit,
            }
            if auto.allowed_domains:
                container["network_policy"] = policy_object(auto.allowed_domains)
            if auto.environment is not None:
                container["environment"] = auto.environment
            return {"type": "code_interpreter", "container": container}
        case CodeTool(container=container_id):
            return {"type": "code_interpreter", "container": container_id}
        case FunctionTool():
            return {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
                "strict": tool.strict,
            }
        case _:
            assert_never(tool)


def choice_object(
    choice: str | ChooseCode | ChooseFunction | ChooseAllowed | None,
) -> str | dict[str, Any]:
    """Return the choice as a response shows it."""
    match choice:
        case None:
            return "auto"
        case str():
            return choice
        case ChooseCode():
            return {"type": "code_interpreter"}
        case ChooseFunction(name=name):
            return {"type": "function", "name": name}
        case ChooseAllowed():
            return {
                "type": "allowed_tools",
                "mode": choice.mode,
                "tools": [choice_object(each) for each in choice.tools],
            }
        case _:
            assert_never(choice)
