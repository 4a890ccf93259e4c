"""
The body of `POST /v1/model/response`: JSON in, a checked request to run out. Pure.

The code interpreter has a mode. It may stand beside the tool in `tools`, or in `system_tools`,
where `enabled` is short for `auto` or `off`; where both say something, `tools` has the say.

Source: Aitronos API reference, "Create a model response"; "Code interpreter", of 2026.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, assert_never

from pydantic import Field, PlainValidator

from sanderling.api.responses.requests import DEFAULT_MODEL
from sanderling.api.validation import RequestModel, by_json_type, by_type_field
from sanderling.errors import InvalidRequest
from sanderling.records import AutoContainer, CodeTool, Item, RunRequest, ToolChoice

# "Maximum execution time: 30 seconds per code block". The server's own limit holds as well.
BLOCK_S = 30.0
TOOLS_MAX = 128

Mode = Literal["auto", "on", "off"]
_Id = Annotated[str, Field(min_length=1, max_length=512)]


# ---- inputs ------------------------------------------------------------------------------------


class TextOfInput(RequestModel):
    text: str


class FileOfInput(RequestModel):
    file_id: _Id


Part = TextOfInput | FileOfInput


class Input(RequestModel):
    """`texts` is how an earlier version of that API called a content of parts."""

    role: Literal["user", "assistant", "system", "developer"] = "user"
    content: (
        Annotated[
            str | list[Part],
            PlainValidator(
                by_json_type(
                    "a string or an array of content parts",
                    {
                        str: str,
                        list: list[
                            Annotated[
                                Any,
                                PlainValidator(
                                    by_type_field({"text": TextOfInput, "file": FileOfInput})
                                ),
                            ]
                        ],
                    },
                )
            ),
        ]
        | None
    ) = None
    texts: Annotated[list[TextOfInput], Field(min_length=1)] | None = None


# ---- tools -------------------------------------------------------------------------------------


class CodeWithMode(RequestModel):
    mode: Mode | None = None


class FileRetrieval(RequestModel):
    """Files of messages are always there for the code, so there is nothing to switch on."""


class SystemTool(RequestModel):
    mode: Mode | None = None
    enabled: bool | None = None


class SystemTools(RequestModel):
    code_interpreter: SystemTool | None = None


class CreateModelResponse(RequestModel):
    """`organization_id` and `assistant_id` are shown again: the key says whose request it is."""

    organization_id: _Id | None = None
    assistant_id: _Id | None = None
    model: _Id | None = None
    inputs: Annotated[list[Input], Field(min_length=1)]
    instructions: str | None = None
    tools: (
        Annotated[
            list[
                Annotated[
                    CodeWithMode | FileRetrieval,
                    PlainValidator(
                        by_type_field(
                            {"code_interpreter": CodeWithMode, "file_retrieval": FileRetrieval}
                        )
                    ),
                ]
            ],
            Field(max_length=TOOLS_MAX),
        ]
        | None
    ) = None
    system_tools: SystemTools | None = None
    stream: bool | None = None
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] | None = None
    top_p: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    max_output_tokens: Annotated[int, Field(ge=1, le=1 << 31)] | None = None


def mode_of(body: CreateModelResponse) -> Mode:
    """
    Return what the model is to do with code; `off` where nothing asks for any.

    Raises:
        InvalidRequest: the tool is there twice.
    """
    mode: Mode | None = None
    is_listed = False
    for index, tool in enumerate(body.tools or ()):
        if isinstance(tool, CodeWithMode):
            if is_listed:
                raise InvalidRequest(
                    "There can be only one code_interpreter tool.",
                    param=f"tools[{index}]",
                    code="invalid_value",
                )
            is_listed, mode = True, tool.mode
    if mode is not None:
        return mode
    system = body.system_tools.code_interpreter if body.system_tools else None
    if system is not None and (said := _system_mode(system)) is not None:
        return said
    return "auto" if is_listed else "off"


def _system_mode(tool: SystemTool) -> Mode | None:
    if tool.enabled is False:
        return "off"
    return tool.mode or ("auto" if tool.enabled else None)


def run_request(
    body: CreateModelResponse, items: tuple[Item, ...], *, organization_id: str
) -> RunRequest:
    """
    Return what is to be run; `items` are the records of the body's inputs.

    Raises:
        InvalidRequest: as `mode_of`.
    """
    mode = mode_of(body)
    return RunRequest(
        organization_id=organization_id,
        dialect="model_response",
        model=body.model or DEFAULT_MODEL,
        input=items,
        instructions=body.instructions,
        # "No network access, no file system writes".
        tools=() if mode == "off" else (CodeTool(AutoContainer(read_only=True)),),
        tool_choice=_tool_choice(mode),
        temperature=body.temperature,
        top_p=body.top_p,
        max_output_tokens=body.max_output_tokens,
        execution_timeout_s=BLOCK_S,
        stored=False,
        echo={"organization_id": body.organization_id, "assistant_id": body.assistant_id},
    )


def _tool_choice(mode: Mode) -> ToolChoice:
    match mode:
        case "on":
            return ToolChoice("code")
        case "auto":
            return ToolChoice("auto")
        case "off":
            return ToolChoice("none")
        case _:
            assert_never(mode)
