"""
The input of a response as clients write it: items, and the parts of their content.

These are JSON checked and nothing more; `inputs.py` turns them into records.

Source: OpenAI API reference, "Create a model response", `input`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator

from sanderling.api.validation import RequestModel, by_json_type, by_type_field

# Ids clients send back to us; ours are at most 64 characters, other servers' may be longer.
_Id = Annotated[str, Field(min_length=1, max_length=512)]
_Status = Literal["in_progress", "completed", "incomplete", "interpreting", "failed"]


# ---- parts -------------------------------------------------------------------------------------


class InputText(RequestModel):
    text: str


class InputImage(RequestModel):
    image_url: str | None = None
    file_id: str | None = None
    detail: Literal["low", "high", "auto", "original"] | None = None


class InputFile(RequestModel):
    file_id: str | None = None
    file_data: str | None = None
    filename: str | None = None
    file_url: str | None = None


class OutputText(RequestModel):
    """The model's own text, sent back; its annotations are not read."""

    text: str


class Refusal(RequestModel):
    refusal: str


MessagePart = InputText | InputImage | InputFile | OutputText | Refusal
OutputPart = InputText | InputImage | InputFile

_INPUT_PARTS: dict[str, type[RequestModel]] = {
    "input_text": InputText,
    "input_image": InputImage,
    "input_file": InputFile,
}
_MESSAGE_PARTS = {**_INPUT_PARTS, "output_text": OutputText, "refusal": Refusal}
_STRING_OR_PARTS = "a string or an array of content parts"

MessageContent = Annotated[
    str | list[MessagePart],
    PlainValidator(
        by_json_type(
            _STRING_OR_PARTS,
            {str: str, list: list[Annotated[Any, PlainValidator(by_type_field(_MESSAGE_PARTS))]]},
        )
    ),
]
OutputContent = Annotated[
    str | list[OutputPart],
    PlainValidator(
        by_json_type(
            _STRING_OR_PARTS,
            {str: str, list: list[Annotated[Any, PlainValidator(by_type_field(_INPUT_PARTS))]]},
        )
    ),
]


# ---- items -------------------------------------------------------------------------------------


class Message(RequestModel):
    id: _Id | None = None
    role: Literal["user", "assistant", "system", "developer"]
    content: MessageContent


class FunctionCall(RequestModel):
    id: _Id | None = None
    call_id: _Id
    name: Annotated[str, Field(min_length=1, max_length=128)]
    arguments: str


class FunctionCallOutput(RequestModel):
    id: _Id | None = None
    call_id: _Id
    output: OutputContent


class ReasoningText(RequestModel):
    text: str


class Reasoning(RequestModel):
    id: _Id | None = None
    summary: list[ReasoningText] | None = None
    content: list[ReasoningText] | None = None
    encrypted_content: str | None = None


class LogsReplayed(RequestModel):
    logs: str


class ImageReplayed(RequestModel):
    url: str


OutputReplayed = LogsReplayed | ImageReplayed


class CodeInterpreterCall(RequestModel):
    """A call of an earlier response, sent back; its id and container need not exist any more."""

    id: _Id | None = None
    code: str | None = None
    container_id: str | None = None
    outputs: (
        list[
            Annotated[
                OutputReplayed,
                PlainValidator(by_type_field({"logs": LogsReplayed, "image": ImageReplayed})),
            ]
        ]
        | None
    ) = None
    status: _Status | None = None


class ItemReference(RequestModel):
    id: _Id


class Compaction(RequestModel):
    id: _Id | None = None
    encrypted_content: Annotated[str, Field(min_length=1)]


InputItem = (
    Message
    | FunctionCall
    | FunctionCallOutput
    | Reasoning
    | CodeInterpreterCall
    | ItemReference
    | Compaction
)

_ITEMS: dict[str, type[RequestModel]] = {
    "message": Message,
    "function_call": FunctionCall,
    "function_call_output": FunctionCallOutput,
    "reasoning": Reasoning,
    "code_interpreter_call": CodeInterpreterCall,
    "item_reference": ItemReference,
    "compaction": Compaction,
}
_ITEMS_ELSEWHERE = frozenset(
    {
        "additional_tools",
        "apply_patch_call",
        "apply_patch_call_output",
        "compaction_trigger",
        "computer_call",
        "computer_call_output",
        "configuration_update",
        "custom_tool_call",
        "custom_tool_call_output",
        "file_search_call",
        "image_generation_call",
        "local_shell_call",
        "local_shell_call_output",
        "mcp_approval_request",
        "mcp_approval_response",
        "mcp_call",
        "mcp_list_tools",
        "program",
        "program_output",
        "shell_call",
        "shell_call_output",
        "tool_search_call",
        "tool_search_output",
        "web_search_call",
    }
)


def _untyped(value: dict[str, Any]) -> str:
    """Only messages and references may leave their type out, and a reference has nothing but it."""
    return "item_reference" if set(value) - {"type"} == {"id"} else "message"


InputItems = list[
    Annotated[
        InputItem,
        PlainValidator(by_type_field(_ITEMS, default=_untyped, known=_ITEMS_ELSEWHERE)),
    ]
]
Input = Annotated[
    str | InputItems,
    PlainValidator(
        by_json_type("a string or an array of input items", {str: str, list: InputItems})
    ),
]
