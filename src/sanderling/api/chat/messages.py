"""
Messages of a chat as clients write them, and the items of a run that they are. Pure.

An assistant's message may carry `code_interpreter`, the field in which this server told what code
had run: then the calls are items again, so that the model reads what it ran and what came of it,
and the code finds its container. Clients that append the message they were given do that unasked.

Source: OpenAI API reference, "Create chat completion", `messages`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, assert_never

from pydantic import Field, PlainValidator

from sanderling.api.responses.parts import (
    CodeInterpreterCall,
    FunctionCall,
    FunctionCallOutput,
    InputFile,
    InputImage,
    InputItem,
    InputText,
    MessagePart,
    OutputText,
    Refusal,
)
from sanderling.api.responses.parts import Message as InputMessage
from sanderling.api.validation import RequestModel, by_json_type, by_type_field
from sanderling.errors import InvalidRequest, RequestError

# Ids of calls, which other servers may have given out.
_Id = Annotated[str, Field(min_length=1, max_length=512)]
_STRING_OR_PARTS = "a string or an array of content parts"


# ---- parts -------------------------------------------------------------------------------------


class ChatText(RequestModel):
    text: str


class ImageUrl(RequestModel):
    url: str
    detail: Literal["low", "high", "auto", "original"] | None = None


class Image(RequestModel):
    image_url: ImageUrl


class FileContent(RequestModel):
    file_id: str | None = None
    file_data: str | None = None
    filename: str | None = None


class ChatFile(RequestModel):
    file: FileContent


class Refused(RequestModel):
    refusal: str


UserPart = ChatText | Image | ChatFile
AssistantPart = ChatText | Refused


def _content(choices: dict[str, type[RequestModel]], *, known: frozenset[str] = frozenset()) -> Any:
    part = Annotated[Any, PlainValidator(by_type_field(choices, known=known))]
    return PlainValidator(by_json_type(_STRING_OR_PARTS, {str: str, list: list[part]}))


TextContent = Annotated[str | list[ChatText], _content({"text": ChatText})]
UserContent = Annotated[
    str | list[UserPart],
    _content(
        {"text": ChatText, "image_url": Image, "file": ChatFile}, known=frozenset({"input_audio"})
    ),
]
AssistantContent = Annotated[
    str | list[AssistantPart], _content({"text": ChatText, "refusal": Refused})
]


# ---- messages ----------------------------------------------------------------------------------


class SystemMessage(RequestModel):
    role: Literal["system", "developer"]
    content: TextContent


class UserMessage(RequestModel):
    content: UserContent


class CalledFunction(RequestModel):
    name: Annotated[str, Field(min_length=1, max_length=128)]
    arguments: str


class FunctionToolCall(RequestModel):
    id: _Id
    function: CalledFunction


class CodeInterpreterField(RequestModel):
    """What `objects.py` shows, sent back; everything else in it is not read."""

    calls: list[CodeInterpreterCall] | None = None


class AssistantMessage(RequestModel):
    content: AssistantContent | None = None
    refusal: str | None = None
    tool_calls: (
        list[
            Annotated[
                FunctionToolCall,
                PlainValidator(
                    by_type_field(
                        {"function": FunctionToolCall},
                        default=lambda _: "function",
                        known=frozenset({"custom"}),
                    )
                ),
            ]
        ]
        | None
    ) = None
    code_interpreter: CodeInterpreterField | None = None


class ToolMessage(RequestModel):
    tool_call_id: _Id
    content: TextContent


Message = SystemMessage | UserMessage | AssistantMessage | ToolMessage

MessageModel = Annotated[
    Message,
    PlainValidator(
        by_type_field(
            {
                "system": SystemMessage,
                "developer": SystemMessage,
                "user": UserMessage,
                "assistant": AssistantMessage,
                "tool": ToolMessage,
            },
            known=frozenset({"function"}),
            field="role",
        )
    ),
]


# ---- to items ----------------------------------------------------------------------------------


def input_of(messages: Sequence[Message]) -> tuple[list[InputItem], list[str]]:
    """
    Return the messages as items of an input, and where in the request each of them stands.

    Raises:
        InvalidRequest: a call of a function without its answer, or the other way round.
    """
    _check_answers(messages)
    items: list[InputItem] = []
    places: list[str] = []
    for index, message in enumerate(messages):
        for item in _items(message):
            items.append(item)
            places.append(f"messages[{index}]")
    return items, places


def _items(message: Message) -> Iterator[InputItem]:
    match message:
        case SystemMessage(role=role, content=content):
            yield _message(role, content)
        case UserMessage(content=content):
            yield _message("user", content)
        case AssistantMessage():
            yield from _assistant(message)
        case ToolMessage(tool_call_id=call_id, content=content):
            yield FunctionCallOutput(call_id=call_id, output=_text(content))
        case _:
            assert_never(message)


def _assistant(message: AssistantMessage) -> Iterator[InputItem]:
    """Yield code, then words, then calls: what a message says of code stands before its answer."""
    if message.code_interpreter is not None:
        yield from message.code_interpreter.calls or ()
    if message.content:
        yield _message("assistant", message.content)
    if message.refusal:
        yield _message("assistant", [Refused(refusal=message.refusal)])
    for call in message.tool_calls or ():
        yield FunctionCall(
            call_id=call.id, name=call.function.name, arguments=call.function.arguments
        )


def _message(
    role: Literal["user", "assistant", "system", "developer"],
    content: str | Sequence[UserPart | AssistantPart],
) -> InputMessage:
    parts = content if isinstance(content, str) else [_part(part, role) for part in content]
    # Not validated again: what the validator of `content` takes is JSON, and these are models.
    return InputMessage.model_construct(role=role, content=parts)


def _part(part: UserPart | AssistantPart, role: str) -> MessagePart:
    match part:
        case ChatText(text=text):
            return OutputText(text=text) if role == "assistant" else InputText(text=text)
        case Image(image_url=image):
            return InputImage(image_url=image.url, detail=image.detail)
        case ChatFile(file=file):
            return InputFile(file_id=file.file_id, file_data=file.file_data, filename=file.filename)
        case Refused(refusal=refusal):
            return Refusal(refusal=refusal)
        case _:
            assert_never(part)


def _text(content: str | Sequence[ChatText]) -> str:
    return content if isinstance(content, str) else "\n".join(part.text for part in content)


def _check_answers(messages: Sequence[Message]) -> None:
    waiting: dict[str, None] = {}
    for index, message in enumerate(messages):
        if isinstance(message, ToolMessage):
            if message.tool_call_id not in waiting:
                raise InvalidRequest(
                    "Invalid parameter: messages with role 'tool' must be a response to a "
                    "preceding message with 'tool_calls'.",
                    param=f"messages[{index}].tool_call_id",
                )
            del waiting[message.tool_call_id]
            continue
        _refuse_waiting(waiting)
        if isinstance(message, AssistantMessage):
            waiting = dict.fromkeys(call.id for call in message.tool_calls or ())
    _refuse_waiting(waiting)


def _refuse_waiting(waiting: dict[str, None]) -> None:
    if waiting:
        raise InvalidRequest(
            "An assistant message with 'tool_calls' must be followed by tool messages responding "
            "to each 'tool_call_id'. The following tool_call_ids did not have response messages: "
            + ", ".join(waiting),
            param="messages",
        )


# What the reader of items calls a place in a part, and what it is called in a chat.
_PLACES = (
    (".image_url", ".image_url.url"),
    (".file_id", ".file.file_id"),
    (".file_data", ".file.file_data"),
)


def in_words_of_chat(error: RequestError) -> RequestError:
    """Return an error about an item as one about the message it came from."""
    for theirs, ours in _PLACES:
        param = error.param or ""
        if param.startswith("messages[") and param.endswith(theirs):
            place = param.removesuffix(theirs) + ours
            return type(error)(error.message.replace(param, place), param=place, code=error.code)
    return error
