"""
The nouns of Sanderling as frozen dataclasses: no I/O, no JSON, no wire names.

Every class that is stored inside a run carries a literal `type`, so that a stored value says what
it is and `store/codec.py` can read it back. Times are Unix seconds (float), sizes are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

MemoryTier = Literal["1g", "4g", "16g", "64g"]
MEMORY_TIER_BYTES: dict[str, int] = {t: int(t[:-1]) << 30 for t in ("1g", "4g", "16g", "64g")}

ExecutionStatus = Literal["ok", "error", "timed_out", "out_of_memory", "interrupted", "died"]
FileChange = Literal["created", "changed", "renamed", "deleted"]
RunStatus = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
Dialect = Literal["responses", "assistants", "chat", "model_response"]

OCTETS = "application/octet-stream"  # the type of a file of which nothing more is known

# ---- outputs of an execution, in the order they happened ---------------------------------------


@dataclass(frozen=True, slots=True)
class LogsOutput:
    """Text that the code wrote to stdout or stderr; adjacent writes are one output."""

    stream: Literal["stdout", "stderr"]
    logs: str
    type: Literal["logs"] = "logs"


@dataclass(frozen=True, slots=True)
class ResultOutput:
    """
    The text of the cell's last expression, or a displayed object's.

    data: the same for people, by media type: HTML, Markdown, LaTeX, JSON (as its text). Made by the
        code: to be shown only where it can do no harm.
    """

    text: str
    data: dict[str, str] = field(default_factory=dict)
    type: Literal["result"] = "result"


@dataclass(frozen=True, slots=True)
class ImageOutput:
    """
    A picture the code showed. It is also a container file: `file_id`, at `path`.

    chart: what a chart shows, as data: axes and series. Made in the box, as `data` of a result is.
    """

    data_url: str  # data:image/png;base64,…
    file_id: str
    path: str  # /mnt/data/figure_1.png
    chart: dict[str, Any] | None = None
    data: dict[str, str] = field(default_factory=dict)
    type: Literal["image"] = "image"


@dataclass(frozen=True, slots=True)
class ErrorOutput:
    """The exception that ended the cell. `traceback` is plain text, the user's own lines only."""

    name: str
    message: str
    traceback: str
    type: Literal["error"] = "error"


Output = LogsOutput | ResultOutput | ImageOutput | ErrorOutput


@dataclass(frozen=True, slots=True)
class Artifact:
    """
    What an execution did to a container file (an image it showed included).

    change: `created` for a file that was not known before. A renamed one, whose bytes are what
        they were, keeps its id; of a deleted one nothing is left but this.
    """

    file_id: str
    container_id: str
    path: str  # absolute, below /mnt/data
    filename: str  # last component of `path`
    bytes: int
    created_at: float
    change: FileChange = "created"
    previous_path: str | None = None  # of a renamed file
    mime_type: str = OCTETS
    source: Literal["user", "assistant"] = "assistant"


@dataclass(frozen=True, slots=True)
class Execution:
    """How one act of running a cell ended. `notice` is the plain sentence a limit left behind."""

    id: str
    container_id: str
    status: ExecutionStatus
    outputs: tuple[Output, ...]
    artifacts: tuple[Artifact, ...]
    duration_ms: float
    notice: str | None = None  # e.g. "The code ran longer than 60 s and was stopped. …"


# ---- what clients own --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key of an organization; only its SHA-256 digest is kept."""

    id: str
    organization_id: str
    name: str
    hint: str  # first and last characters, for people
    digest: str  # sha256 hex of the whole key
    created_at: float
    revoked_at: float | None = None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of the Files API."""

    id: str
    organization_id: str
    filename: str
    purpose: str
    bytes: int
    created_at: float
    blob_id: str
    expires_at: float | None = None

    def is_expired(self, now: float) -> bool:
        """Whether its time is over at `now` (Unix seconds); it then behaves as absent."""
        return self.expires_at is not None and self.expires_at <= now


@dataclass(frozen=True, slots=True)
class Upload:
    """A file on its way in parts; when it is completed, a file of the Files API."""

    id: str
    organization_id: str
    filename: str
    purpose: str
    mime_type: str  # as the client said; nothing relies on it
    bytes: int  # what the client announced; its parts must add up to that
    status: Literal["pending", "completed", "cancelled", "expired"]
    created_at: float
    expires_at: float
    lifetime_s: int | None = None  # of the file it becomes
    file_id: str | None = None

    def is_open(self, now: float) -> bool:
        """Whether parts may still come at `now` (Unix seconds)."""
        return self.status == "pending" and now < self.expires_at


@dataclass(frozen=True, slots=True)
class UploadPart:
    """Some bytes of an upload. Where in the file they belong is said at its completion."""

    id: str
    upload_id: str
    bytes: int
    created_at: float
    blob_id: str


@dataclass(frozen=True, slots=True)
class Container:
    """The workspace a client owns. A box may or may not stand behind it at any moment."""

    id: str
    organization_id: str
    name: str
    status: Literal["running", "expired", "deleted"]
    memory_limit: MemoryTier
    created_at: float
    last_active_at: float
    expires_after_minutes: int = 20
    allowed_domains: tuple[str, ...] = ()  # what its code may reach; none: no network
    environment: str = "default"  # the guest environment that its code runs in
    read_only: bool = False  # its code finds files and writes none


@dataclass(frozen=True, slots=True)
class ContainerFile:
    """
    A file below /mnt/data of one container. Its bytes are always in the blob store too.

    origin_id: the file of the Files API that it is, or was, a copy of.
    mime_type: what its name or its first bytes say it is, for people; nothing may rely on it.
    """

    id: str
    container_id: str
    path: str  # absolute, below /mnt/data; unique within the container
    bytes: int
    created_at: float
    source: Literal["user", "assistant"]
    blob_id: str
    origin_id: str | None = None
    mime_type: str = OCTETS


@dataclass(frozen=True, slots=True)
class StoredConversation:
    """A conversation of the Conversations API; its items are kept beside it, in their order."""

    id: str
    organization_id: str
    created_at: float
    metadata: dict[str, str] = field(default_factory=dict)


# ---- what a run is made of ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Citation:
    """A container file cited in a text: `text[start:end]` is the link (0, 0 when none stands)."""

    container_id: str
    file_id: str
    filename: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class TextPart:
    text: str
    citations: tuple[Citation, ...] = ()
    type: Literal["text"] = "text"


@dataclass(frozen=True, slots=True)
class RefusalPart:
    refusal: str
    type: Literal["refusal"] = "refusal"


@dataclass(frozen=True, slots=True)
class ImagePart:
    """A picture given by the user: a stored file, or an http(s) URL left to the model server."""

    file_id: str | None = None
    url: str | None = None
    detail: str = "auto"
    type: Literal["image"] = "image"


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file given by the user; mounted at /mnt/data under its own name."""

    file_id: str
    filename: str
    type: Literal["file"] = "file"


Part = TextPart | RefusalPart | ImagePart | FilePart


@dataclass(frozen=True, slots=True)
class MessageItem:
    id: str
    role: Literal["user", "assistant", "system", "developer"]
    parts: tuple[Part, ...]
    status: Literal["in_progress", "completed", "incomplete"] = "completed"
    type: Literal["message"] = "message"


@dataclass(frozen=True, slots=True)
class CodeCallItem:
    """The model's wish to run a cell, and its outcome."""

    id: str  # ci_…
    call_id: str  # the model's own id of the tool call
    code: str
    container_id: str
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    outputs: tuple[Output, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    execution_status: ExecutionStatus | None = None
    type: Literal["code_call"] = "code_call"


@dataclass(frozen=True, slots=True)
class FunctionCallItem:
    """The model's wish to have the client call one of its own functions."""

    id: str  # fc_…
    call_id: str
    name: str
    arguments: str  # JSON text
    status: Literal["in_progress", "completed", "incomplete"] = "completed"
    type: Literal["function_call"] = "function_call"


@dataclass(frozen=True, slots=True)
class FunctionOutputItem:
    """What the client's function answered."""

    id: str
    call_id: str
    output: str
    type: Literal["function_output"] = "function_output"


@dataclass(frozen=True, slots=True)
class ReasoningItem:
    """
    Reasoning text as the model server gave it; replayed to clients, never to the model.

    summary, encrypted_content: of an item that a client brought from elsewhere; shown as they came.
    """

    id: str  # rs_…
    text: str = ""
    encrypted_content: str | None = None
    summary: tuple[str, ...] = ()
    type: Literal["reasoning"] = "reasoning"


@dataclass(frozen=True, slots=True)
class CompactionItem:
    """
    A conversation made short; it stands for everything before it.

    summary: the model's own. said: what the user said, word for word, oldest first.
    container_id: where its code ran last. file_ids: the user's files.
    """

    id: str  # cmp_…
    summary: str
    said: tuple[str, ...] = ()
    container_id: str | None = None
    file_ids: tuple[str, ...] = ()
    type: Literal["compaction"] = "compaction"


Item = (
    MessageItem
    | CodeCallItem
    | FunctionCallItem
    | FunctionOutputItem
    | ReasoningItem
    | CompactionItem
)


@dataclass(frozen=True, slots=True)
class AutoContainer:
    """`container: {"type": "auto"}`: made by the first code call, kept along the chain."""

    file_ids: tuple[str, ...] = ()
    memory_limit: MemoryTier = "1g"
    allowed_domains: tuple[str, ...] = ()  # as the client wrote them
    environment: str | None = None  # None: the server's usual one
    read_only: bool = False  # its code finds files and writes none
    type: Literal["auto"] = "auto"


@dataclass(frozen=True, slots=True)
class CodeTool:
    """The code interpreter: an auto container, or the id of an existing one."""

    container: AutoContainer | str
    type: Literal["code"] = "code"


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A function of the client's, described by JSON schema."""

    name: str
    description: str | None
    parameters: dict[str, Any]
    strict: bool
    type: Literal["function"] = "function"


Tool = CodeTool | FunctionTool


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """
    What the first turn of a run must do.

    mode: `auto` may call, `none` must not, `required` must call something, `code` must call the
    code interpreter, `function` must call the function `name`.
    """

    mode: Literal["auto", "none", "required", "code", "function"] = "auto"
    name: str | None = None


@dataclass(frozen=True, slots=True)
class TextFormat:
    """Plain text, any JSON object, or JSON that satisfies `schema`."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One checked request to run, in our own words; the dialect keeps its own echo in `echo`."""

    organization_id: str
    dialect: Dialect
    model: str
    input: tuple[Item, ...]
    instructions: str | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    previous_run_id: str | None = None
    conversation_id: str | None = None  # never both of these
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    parallel_tool_calls: bool = True
    text_format: TextFormat = TextFormat()
    truncation: Literal["auto", "disabled"] = "disabled"
    reasoning_effort: str | None = None
    # The longest that one cell may take, where the client wants less than the server allows.
    execution_timeout_s: float | None = None
    # What else a chat model server is asked in every turn, as the client wrote it (stop, seed, …).
    model_options: dict[str, Any] = field(default_factory=dict)
    stored: bool = True
    # Files that came inside the request; of a run that is not stored they are forgotten with it.
    inline_file_ids: tuple[str, ...] = ()
    # May go on from a previous run that was not to be stored: it is the same client's.
    continues_unstored: bool = False
    generate: bool = True  # else the run only holds its input, for others to go on from
    background: bool = False  # nobody waits for it: it takes its turn, and can be cancelled
    # What the dialect must show again and the loop does not read (metadata, user, truncation, …).
    echo: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, summed over the turns of a run."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


@dataclass(frozen=True, slots=True)
class RunError:
    """Why a run failed. `code` is one of server_error, rate_limit_exceeded, invalid_prompt."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Run:
    """One working of the loop. The Responses dialect shows it as a Response."""

    id: str  # resp_…
    request: RunRequest
    status: RunStatus
    created_at: float
    container_id: str | None = None
    completed_at: float | None = None
    usage: Usage | None = None
    error: RunError | None = None
    incomplete_reason: str | None = None  # max_output_tokens | content_filter
