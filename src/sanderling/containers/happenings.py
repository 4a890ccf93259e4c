"""
What an execution in a container tells while it runs, and the record it leaves.

The sandbox reports bursts; clients and models are shown outputs. `OutputLog` is the one place that
turns bursts into numbered outputs: adjacent bursts on one stream are one output that grows, any
other happening begins a new one or takes the place of an earlier one, so what was streamed and what
is recorded cannot differ. Text that went back over itself (a progress bar) is streamed as it was
written and recorded as a terminal would show it at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

from sanderling.containers import screen
from sanderling.records import Execution, LogsOutput, Output


@dataclass(frozen=True, slots=True)
class OutputAppeared:
    """
    An output, or more of one.

    index: counts the outputs of the execution. A LogsOutput with an index that was told before
        continues that output: append its text. Any other takes the place of that one.
    """

    index: int
    output: Output


@dataclass(frozen=True, slots=True)
class OutputsCleared:
    """All outputs so far are gone; the next has the index 0."""


ContainerHappening = OutputAppeared | OutputsCleared | Execution


class OutputLog:
    """The outputs of one execution in the order they happened; `add` is the only way to grow it."""

    def __init__(self) -> None:
        self._outputs: list[Output] = []
        self._bursts: list[str] = []  # of the last output, when it is logs; joined when it ends
        self._places: dict[str, int] = {}  # by display id

    def clear(self) -> OutputsCleared:
        """Forget every output."""
        self._outputs.clear()
        self._bursts.clear()
        self._places.clear()
        return OutputsCleared()

    def add_displayed(self, output: Output, display_id: str, *, is_update: bool) -> OutputAppeared:
        """Take an output with an identity: an update goes to the place of the one before it."""
        index = self._places.get(display_id) if is_update else None
        if index is not None:
            self._outputs[index] = output
            return OutputAppeared(index, output)
        appeared = self.add(output)
        self._places[display_id] = appeared.index
        return appeared

    def put(self, appeared: OutputAppeared) -> None:
        """Take what another log has told."""
        last = len(self._outputs) - 1
        is_more = appeared.index == last and isinstance(appeared.output, LogsOutput)
        if appeared.index > last or is_more:
            self.add(appeared.output)
        else:
            self._outputs[appeared.index] = appeared.output

    def add(self, output: Output) -> OutputAppeared:
        """Take one output or burst; return it under the index it belongs to."""
        last = self._outputs[-1] if self._outputs else None
        if (
            isinstance(output, LogsOutput)
            and isinstance(last, LogsOutput)
            and last.stream == output.stream
        ):
            self._bursts.append(output.logs)
        else:
            self._close()
            self._outputs.append(output)
            self._bursts = [output.logs] if isinstance(output, LogsOutput) else []
        return OutputAppeared(len(self._outputs) - 1, output)

    def add_notice(self, notice: str) -> OutputAppeared:
        """Take the sentence a limit left behind, on a line of its own on stderr."""
        begins_line = not self._bursts or self._bursts[-1].endswith("\n")
        return self.add(LogsOutput("stderr", ("" if begins_line else "\n") + notice + "\n"))

    def outputs(self) -> tuple[Output, ...]:
        """Return the outputs so far, each merged."""
        self._close()
        return tuple(self._outputs)

    def _close(self) -> None:
        last = self._outputs[-1] if self._outputs else None
        if isinstance(last, LogsOutput):
            self._bursts = ["".join(self._bursts)]
            self._outputs[-1] = LogsOutput(last.stream, screen.settled(self._bursts[0]))
