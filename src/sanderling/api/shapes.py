"""
The shapes of replies, for the description of the API. Nothing is made from them: replies are made
by projections beside the routes, and tests/api/test_openapi.py holds these to what those give.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sanderling.records import ExecutionStatus, FileChange, MemoryTier


class Shape(BaseModel):
    """Base of every shape. A field that may be null is there nevertheless."""

    model_config = ConfigDict(strict=True)


class ErrorDetail(Shape):
    message: str
    type: str
    param: str | None
    code: str | None


class Error(Shape):
    """The body of every error."""

    error: ErrorDetail


class Deleted(Shape):
    id: str
    object: str
    deleted: Literal[True]


class Listing(Shape):
    """A page of a list; the ids are those of its first and last object."""

    object: Literal["list"]
    first_id: str | None
    last_id: str | None
    has_more: bool


class File(Shape):
    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    status: Literal["processed"]
    status_details: str | None


class FileList(Listing):
    data: list[File]


class Upload(Shape):
    id: str
    object: Literal["upload"]
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["pending", "completed", "cancelled", "expired"]
    expires_at: int
    file: File | None


class UploadPart(Shape):
    id: str
    object: Literal["upload.part"]
    created_at: int
    upload_id: str


class IdleTime(Shape):
    anchor: Literal["last_active_at"]
    minutes: int


class Policy(Shape):
    type: Literal["disabled", "allowlist"]
    allowed_domains: list[str] | None


class Container(Shape):
    id: str
    object: Literal["container"]
    created_at: int
    status: Literal["running", "expired"]
    expires_after: IdleTime
    last_active_at: int
    memory_limit: MemoryTier
    name: str
    network_policy: Policy
    isolation: str
    environment: str


class ContainerList(Listing):
    data: list[Container]


class ContainerFile(Shape):
    id: str
    object: Literal["container.file"]
    bytes: int
    container_id: str
    created_at: int
    path: str
    source: Literal["user", "assistant"]
    mime_type: str


class ContainerFileList(Listing):
    data: list[ContainerFile]


class ChangedFile(ContainerFile):
    """A container file, and what the code of an execution did to it."""

    status: FileChange
    previous_path: str | None


class ShownLogs(Shape):
    type: Literal["logs"]
    stream: Literal["stdout", "stderr"]
    logs: str


class ShownResult(Shape):
    type: Literal["result"]
    text: str
    data: dict[str, str] | None = None


class ShownImage(Shape):
    type: Literal["image"]
    url: str
    file_id: str
    data: dict[str, str] | None = None
    chart: dict[str, Any] | None = None


class ShownError(Shape):
    type: Literal["error"]
    name: str
    message: str
    traceback: str


class Execution(Shape):
    id: str
    object: Literal["container.execution"]
    container_id: str
    status: ExecutionStatus
    outputs: list[ShownLogs | ShownResult | ShownImage | ShownError]
    files: list[ChangedFile]
    duration_ms: float


class Model(Shape):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(Shape):
    object: Literal["list"]
    data: list[Model]


class SandboxState(Shape):
    isolation: str
    boxes: int
    pool: int
    cgroups: str
    soft_limits: list[str]


class Health(Shape):
    status: Literal["ok"]
    sandbox: SandboxState


class Response(Shape):
    """A response; its items are those of OpenAI's API reference."""

    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
    background: bool
    completed_at: int | None
    conversation: dict[str, str] | None = None
    error: dict[str, str] | None
    frequency_penalty: float
    incomplete_details: dict[str, str] | None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    metadata: dict[str, str]
    model: str
    moderation: None
    output: list[dict[str, Any]]
    parallel_tool_calls: bool
    presence_penalty: float
    previous_response_id: str | None
    prompt_cache_key: str | None
    prompt_cache_retention: str | None
    reasoning: dict[str, Any]
    safety_identifier: str | None
    service_tier: str
    store: bool
    temperature: float
    text: dict[str, Any]
    tool_choice: str | dict[str, Any]
    tools: list[dict[str, Any]]
    top_logprobs: int
    top_p: float
    truncation: Literal["auto", "disabled"]
    usage: dict[str, Any] | None
    user: str | None


class InputTokens(Shape):
    object: Literal["response.input_tokens"]
    input_tokens: int


class Compaction(Shape):
    """A conversation made short; `output` can be given back as input."""

    id: str
    object: Literal["response.compaction"]
    created_at: int
    output: list[dict[str, Any]]
    usage: dict[str, Any]


class ChatChoice(Shape):
    index: int
    message: dict[str, Any]
    logprobs: dict[str, Any] | None
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


class ChatCompletion(Shape):
    """A chat completion of this server; one that is passed on is as the model server makes it."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    service_tier: str
    system_fingerprint: str | None
    choices: list[ChatChoice]
    usage: dict[str, Any]


class ModelResponse(Shape):
    """What `model/response` answers; `output` has calls of code and messages."""

    success: Literal[True]
    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["completed", "incomplete"]
    organization_id: str | None
    assistant_id: str | None
    model: str
    output: list[dict[str, Any]]
    usage: dict[str, int]
    incomplete_details: dict[str, str] | None = None


class ModelResponseErrorDetail(Shape):
    code: str
    message: str
    system_message: str
    type: str
    status: int
    details: dict[str, str]
    trace_id: str
    timestamp: str


class ModelResponseError(Shape):
    """The body of the errors of `model/response`."""

    success: Literal[False]
    error: ModelResponseErrorDetail


class Item(Shape):
    """An item of a response or a conversation; the fields beside these are its type's."""

    model_config = ConfigDict(strict=True, extra="allow")

    id: str = Field(min_length=1)
    type: str


class ItemList(Listing):
    data: list[Item]


class Conversation(Shape):
    id: str
    object: Literal["conversation"]
    created_at: int
    metadata: dict[str, str]
