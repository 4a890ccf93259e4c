"""
What happens in a run, in our own words.

One vocabulary: the store keeps these, every dialect projects them, the loop yields them and
nothing else. Order within a run:

    [RunChanged(queued)]  a background run
    RunChanged(in_progress)
    { ReasoningStarted ReasoningAdded* ReasoningFinished
    | CodeCallStarted CodeAdded* CodeWritten (OutputAdded | OutputsCleared)* CodeCallFinished
    | FunctionCallStarted ArgumentsAdded* FunctionCallFinished
    | MessageStarted (TextAdded* | RefusalAdded*) MessageFinished }*
    RunChanged(completed | incomplete | failed | cancelled)

An item's events never interleave with another item's: the loop finishes one before it starts the
next, so a projection may number items in the order they start. `item_id` ties them together.
Deltas concatenate to the final value, except where a model repeated itself: the `…Written` and
`…Finished` events are the authority.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sanderling.records import (
    CodeCallItem,
    FunctionCallItem,
    MessageItem,
    Output,
    ReasoningItem,
    RunError,
    RunStatus,
    Usage,
)


@dataclass(frozen=True, slots=True)
class RunChanged:
    """The run changed its state `at` (Unix seconds). The last event of a run is one of these."""

    status: RunStatus
    at: float
    usage: Usage | None = None
    error: RunError | None = None
    incomplete_reason: str | None = None
    type: Literal["run_changed"] = "run_changed"


@dataclass(frozen=True, slots=True)
class ReasoningStarted:
    item_id: str
    type: Literal["reasoning_started"] = "reasoning_started"


@dataclass(frozen=True, slots=True)
class ReasoningAdded:
    item_id: str
    delta: str
    type: Literal["reasoning_added"] = "reasoning_added"


@dataclass(frozen=True, slots=True)
class ReasoningFinished:
    item: ReasoningItem
    type: Literal["reasoning_finished"] = "reasoning_finished"


@dataclass(frozen=True, slots=True)
class CodeCallStarted:
    """The model began to write code; the container it will run in is known from here on."""

    item_id: str
    call_id: str
    container_id: str
    type: Literal["code_call_started"] = "code_call_started"


@dataclass(frozen=True, slots=True)
class CodeAdded:
    item_id: str
    delta: str
    type: Literal["code_added"] = "code_added"


@dataclass(frozen=True, slots=True)
class CodeWritten:
    """The cell is complete and about to run."""

    item_id: str
    code: str
    type: Literal["code_written"] = "code_written"


@dataclass(frozen=True, slots=True)
class OutputAdded:
    """
    Output appeared while the cell runs.

    `index` counts the execution's outputs; a LogsOutput with an index that was told before
    continues that output (append its text), any other takes the place of that one.
    """

    item_id: str
    index: int
    output: Output
    type: Literal["output_added"] = "output_added"


@dataclass(frozen=True, slots=True)
class OutputsCleared:
    """What the cell has shown so far is gone; the next output has the index 0."""

    item_id: str
    type: Literal["outputs_cleared"] = "outputs_cleared"


@dataclass(frozen=True, slots=True)
class CodeCallFinished:
    item: CodeCallItem
    type: Literal["code_call_finished"] = "code_call_finished"


@dataclass(frozen=True, slots=True)
class FunctionCallStarted:
    item_id: str
    call_id: str
    name: str
    type: Literal["function_call_started"] = "function_call_started"


@dataclass(frozen=True, slots=True)
class ArgumentsAdded:
    item_id: str
    delta: str
    type: Literal["arguments_added"] = "arguments_added"


@dataclass(frozen=True, slots=True)
class FunctionCallFinished:
    item: FunctionCallItem
    type: Literal["function_call_finished"] = "function_call_finished"


@dataclass(frozen=True, slots=True)
class MessageStarted:
    item_id: str
    type: Literal["message_started"] = "message_started"


@dataclass(frozen=True, slots=True)
class TextAdded:
    item_id: str
    delta: str
    type: Literal["text_added"] = "text_added"


@dataclass(frozen=True, slots=True)
class RefusalAdded:
    item_id: str
    delta: str
    type: Literal["refusal_added"] = "refusal_added"


@dataclass(frozen=True, slots=True)
class MessageFinished:
    """The message with its citations; it has exactly one part."""

    item: MessageItem
    type: Literal["message_finished"] = "message_finished"


Event = (
    RunChanged
    | ReasoningStarted
    | ReasoningAdded
    | ReasoningFinished
    | CodeCallStarted
    | CodeAdded
    | CodeWritten
    | OutputAdded
    | OutputsCleared
    | CodeCallFinished
    | FunctionCallStarted
    | ArgumentsAdded
    | FunctionCallFinished
    | MessageStarted
    | TextAdded
    | RefusalAdded
    | MessageFinished
)

TERMINAL_STATUSES = frozenset({"completed", "incomplete", "failed", "cancelled"})


def is_terminal(event: Event) -> bool:
    """Return whether `event` is the last of its run."""
    return isinstance(event, RunChanged) and event.status in TERMINAL_STATUSES
