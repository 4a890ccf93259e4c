"""
The body of `POST /v1/chat/completions`: what is read of every one, and those that we answer. Pure.

A request without the code interpreter is for the model server, and only what decides that is
looked at: `Envelope`. One that this server answers itself is checked whole.

Source: OpenAI API reference, "Create chat completion".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator

from sanderling.api.chat.messages import MessageModel
from sanderling.api.chat.tools import ToolChoiceModel, ToolModel, choose, tool_records
from sanderling.api.responses.requests import JsonObject, JsonSchema, PlainText
from sanderling.api.responses.tools import TOOLS_MAX
from sanderling.api.validation import RequestModel, by_json_type, by_type_field
from sanderling.errors import InvalidRequest
from sanderling.records import Item, RunRequest, TextFormat

_ModelName = Annotated[str, Field(min_length=1, max_length=512)]
_Tokens = Annotated[int, Field(ge=1, le=1 << 31)]
_Penalty = Annotated[float, Field(ge=-2.0, le=2.0)]
_STOPS_MAX = 4


class ChatStreamOptions(RequestModel):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Envelope(RequestModel):
    """What is read of a request that is passed on; all else is the model server's to judge."""

    model: _ModelName
    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    tools: list[dict[str, Any]] | None = None
    stream: bool | None = None

    @property
    def runs_code(self) -> bool:
        """Whether it has the code interpreter among its tools."""
        return any(tool.get("type") == "code_interpreter" for tool in self.tools or ())


class Schema(RequestModel):
    json_schema: JsonSchema


class CreateChatCompletion(RequestModel):
    model: _ModelName
    messages: Annotated[list[MessageModel], Field(min_length=1)]
    stream: bool | None = None
    stream_options: ChatStreamOptions | None = None
    tools: Annotated[list[ToolModel], Field(max_length=TOOLS_MAX)] | None = None
    tool_choice: ToolChoiceModel | None = None
    parallel_tool_calls: bool | None = None
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] | None = None
    top_p: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    max_tokens: _Tokens | None = None
    max_completion_tokens: _Tokens | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = (
        None
    )
    response_format: (
        Annotated[
            PlainText | JsonObject | Schema,
            PlainValidator(
                by_type_field({"text": PlainText, "json_object": JsonObject, "json_schema": Schema})
            ),
        ]
        | None
    ) = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    modalities: list[Literal["text", "audio"]] | None = None
    audio: Any = None
    functions: Any = None
    function_call: Any = None
    # Read by OpenAI for its own records: checked, and of no effect here.
    store: bool | None = None
    metadata: (
        Annotated[
            dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
            Field(max_length=16),
        ]
        | None
    ) = None
    # Checked, and passed on to the model server in every turn.
    stop: (
        Annotated[
            str | list[str],
            PlainValidator(
                by_json_type(
                    "a string or an array of strings",
                    {str: str, list: Annotated[list[str], Field(max_length=_STOPS_MAX)]},
                )
            ),
        ]
        | None
    ) = None
    seed: int | None = None
    frequency_penalty: _Penalty | None = None
    presence_penalty: _Penalty | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    prediction: dict[str, Any] | None = None
    service_tier: str | None = None
    user: str | None = None
    safety_identifier: Annotated[str, Field(max_length=512)] | None = None
    prompt_cache_key: Annotated[str, Field(max_length=512)] | None = None
    prompt_cache_retention: Literal["in-memory", "in_memory", "24h"] | None = None


# Checked above and passed on; so is every parameter that is not there, as servers have their own.
_PASSED_ON = frozenset(
    {"stop", "seed", "frequency_penalty", "presence_penalty", "logit_bias", "verbosity"}
    | {"prediction", "service_tier", "user", "safety_identifier", "prompt_cache_key"}
    | {"prompt_cache_retention"}
)


def refuse_unsupported(body: CreateChatCompletion) -> None:
    """
    Raises:
        InvalidRequest: the body asks for something that only a model server can do.
    """
    for param, is_asked in (
        ("n", body.n is not None and body.n > 1),
        ("logprobs", body.logprobs is True),
        ("top_logprobs", body.top_logprobs is not None and body.top_logprobs > 0),
        ("modalities", "audio" in (body.modalities or ())),
        ("audio", body.audio is not None),
        ("functions", body.functions is not None),
        ("function_call", body.function_call is not None),
    ):
        if is_asked:
            hint = " Use 'tools' and 'tool_choice'." if param.startswith("function") else ""
            raise InvalidRequest(
                f"'{param}' is passed on to a model server, and not supported in a request that "
                f"this server answers itself: one with the code interpreter.{hint}",
                param=param,
                code="unsupported_parameter",
            )
    if body.stream_options is not None and not body.stream:
        raise InvalidRequest(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    if body.max_tokens is not None and body.max_completion_tokens is not None:
        raise InvalidRequest(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            param="max_tokens",
            code="invalid_parameter_combination",
        )


def run_request(
    body: CreateChatCompletion,
    given: Mapping[str, Any],
    items: tuple[Item, ...],
    *,
    organization_id: str,
) -> RunRequest:
    """
    Return what is to be run.

    given: the JSON that `body` was checked from. items: the records of its messages.

    Raises:
        InvalidRequest: values that are right alone and wrong together.
    """
    tools = tool_records(body.tools or ())
    tool_choice, usable = choose(body.tool_choice, tools)
    return RunRequest(
        organization_id=organization_id,
        dialect="chat",
        model=body.model,
        input=items,
        tools=usable,
        tool_choice=tool_choice,
        temperature=body.temperature,
        top_p=body.top_p,
        max_output_tokens=body.max_completion_tokens or body.max_tokens,
        parallel_tool_calls=body.parallel_tool_calls is not False,
        text_format=_text_format(body.response_format),
        reasoning_effort=body.reasoning_effort,
        model_options={
            name: value
            for name, value in given.items()
            if value is not None
            and (name in _PASSED_ON or name not in CreateChatCompletion.model_fields)
        },
        stored=False,
    )


def _text_format(chosen: PlainText | JsonObject | Schema | None) -> TextFormat:
    match chosen:
        case Schema(json_schema=schema):
            return TextFormat(
                type="json_schema",
                name=schema.name,
                schema=schema.schema_,
                strict=schema.strict,
                description=schema.description,
            )
        case JsonObject():
            return TextFormat(type="json_object")
        case _:
            return TextFormat()


def passed_on(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request as the model server is given it: without what only this server knows."""
    return {
        **given,
        "messages": [
            {name: value for name, value in message.items() if name != "code_interpreter"}
            for message in given["messages"]
        ],
    }
