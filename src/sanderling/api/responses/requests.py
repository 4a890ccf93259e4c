"""
The body of `POST /v1/responses`: JSON in, a checked request to run out. Pure.

What needs the store, the files and items that the input names, is found by `inputs.py` and passed
in as records.

Source: OpenAI API reference, "Create a model response".
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator

from sanderling.api.responses import tools as tools_
from sanderling.api.responses.parts import Input
from sanderling.api.validation import RequestModel, by_json_type, by_type_field
from sanderling.errors import InvalidRequest
from sanderling.records import Item, RunRequest, TextFormat

# For a request that names no model, which OpenAI's schema allows.
DEFAULT_MODEL = "sanderling"

Include = Literal[
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
]
CODE_OUTPUTS: Include = "code_interpreter_call.outputs"

ConversationId = Annotated[str, Field(min_length=1, max_length=512)]

Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=16),
]


class PlainText(RequestModel):
    pass


class JsonObject(RequestModel):
    pass


class JsonSchema(RequestModel):
    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9_-]+$")]
    schema_: dict[str, Any] = Field(alias="schema")
    description: str | None = None
    strict: bool | None = None


class Text(RequestModel):
    format: (
        Annotated[
            PlainText | JsonObject | JsonSchema,
            PlainValidator(
                by_type_field(
                    {"text": PlainText, "json_object": JsonObject, "json_schema": JsonSchema}
                )
            ),
        ]
        | None
    ) = None
    verbosity: Literal["low", "medium", "high"] | None = None


class ReasoningOptions(RequestModel):
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None


class StreamOptions(RequestModel):
    """`include_output_deltas` is ours: what code prints arrives while it runs."""

    include_obfuscation: bool | None = None
    include_output_deltas: bool | None = None


class ConversationReference(RequestModel):
    id: ConversationId


class CreateResponse(RequestModel):
    model: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    input: Input | None = None
    instructions: str | None = None
    tools: Annotated[list[tools_.ToolModel], Field(max_length=tools_.TOOLS_MAX)] | None = None
    tool_choice: tools_.ToolChoiceModel | None = None
    previous_response_id: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    include: list[Include] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    store: bool | None = None
    background: bool | None = None
    conversation: (
        Annotated[
            ConversationId | ConversationReference,
            PlainValidator(
                by_json_type(
                    "a string or an object",
                    {str: ConversationId, dict: ConversationReference},
                )
            ),
        ]
        | None
    ) = None
    prompt: Any = None
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] | None = None
    top_p: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    max_output_tokens: Annotated[int, Field(ge=16, le=1 << 31)] | None = None
    max_tool_calls: Annotated[int, Field(ge=1, le=1 << 31)] | None = None
    parallel_tool_calls: bool | None = None
    text: Text | None = None
    reasoning: ReasoningOptions | None = None
    truncation: Literal["auto", "disabled"] | None = None
    metadata: Metadata | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    service_tier: (
        Literal["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"] | None
    ) = None
    user: str | None = None
    safety_identifier: Annotated[str, Field(max_length=512)] | None = None
    prompt_cache_key: Annotated[str, Field(max_length=512)] | None = None
    prompt_cache_retention: Literal["in-memory", "in_memory", "24h"] | None = None


def refuse_unsupported(body: CreateResponse) -> None:
    """
    Raises:
        InvalidRequest: the body asks for something that this server does not do yet.
    """
    for param, is_asked in (
        ("background", body.background is True),
        ("prompt", body.prompt is not None),
    ):
        if is_asked:
            raise InvalidRequest(
                f"The parameter '{param}' is not supported yet by this server.",
                param=param,
                code="unsupported_parameter",
            )


def run_request(
    body: CreateResponse, items: tuple[Item, ...], *, organization_id: str
) -> RunRequest:
    """
    Return what is to be run; `items` are the records of the body's input.

    Raises:
        InvalidRequest: values that are right alone and wrong together.
    """
    conversation_id = _conversation_id(body)
    tools = tools_.tool_records(body.tools or ())
    tool_choice, usable = tools_.choose(body.tool_choice, tools)
    return RunRequest(
        organization_id=organization_id,
        dialect="responses",
        model=body.model or DEFAULT_MODEL,
        input=items,
        instructions=body.instructions,
        tools=usable,
        tool_choice=tool_choice,
        previous_run_id=body.previous_response_id,
        conversation_id=conversation_id,
        temperature=body.temperature,
        top_p=body.top_p,
        max_output_tokens=body.max_output_tokens,
        max_tool_calls=body.max_tool_calls,
        parallel_tool_calls=body.parallel_tool_calls is not False,
        text_format=_text_format(body.text),
        reasoning_effort=body.reasoning.effort if body.reasoning else None,
        stored=body.store is not False,
        echo={
            "tools": [tools_.tool_object(tool) for tool in tools],
            "tool_choice": tools_.choice_object(body.tool_choice),
            "include": list(body.include or ()),
            "include_output_deltas": bool(
                body.stream_options and body.stream_options.include_output_deltas
            ),
            "metadata": body.metadata or {},
            "reasoning_summary": _summary(body.reasoning),
            "verbosity": (body.text.verbosity if body.text else None) or "medium",
            "truncation": body.truncation or "disabled",
            "top_logprobs": body.top_logprobs or 0,
            "user": body.user,
            "safety_identifier": body.safety_identifier,
            "prompt_cache_key": body.prompt_cache_key,
            # OpenAI takes both spellings and answers with this one.
            "prompt_cache_retention": (body.prompt_cache_retention or "").replace("-", "_") or None,
        },
    )


def _conversation_id(body: CreateResponse) -> str | None:
    given = body.conversation
    if given is not None and body.previous_response_id is not None:
        # OpenAI's words, to the letter: clients match on them.
        raise InvalidRequest(
            "Mutually exclusive parameters: ''. Ensure you are only providing one of: "
            "'pre..._id' or 'conversation'.",
            code="mutually_exclusive_parameters",
        )
    return given.id if isinstance(given, ConversationReference) else given


def _summary(reasoning: ReasoningOptions | None) -> str | None:
    return (reasoning.summary or reasoning.generate_summary) if reasoning else None


def _text_format(text: Text | None) -> TextFormat:
    match text.format if text else None:
        case JsonSchema() as chosen:
            return TextFormat(
                type="json_schema",
                name=chosen.name,
                schema=chosen.schema_,
                strict=chosen.strict,
                description=chosen.description,
            )
        case JsonObject():
            return TextFormat(type="json_object")
        case _:
            return TextFormat()
