"""
What an execution in a container tells while it runs, and the record it leaves.

The sandbox reports bursts; clients and models are shown outputs. `OutputLog` is the one place that
turns bursts into numbered outputs: adjacent bursts on one stream are one output that grows, any
other happening begins a new one, so what was streamed and what is recorded cannot differ.
"""

from __future__ import annotations

from dataclasses import dataclass

from sanderling.records import Execution, LogsOutput, Output


@dataclass(frozen=True, slots=True)
class OutputAppeared:
    """
    An output, or more of one.

    index: counts the outputs of the execution. A LogsOutput with the index of the happening before
        it continues that output; append its text.
    """

    index: int
    output: Output


ContainerHappening = OutputAppeared | Execution


class OutputLog:
    """The outputs of one execution in the order they happened; `add` is the only way to grow it."""

    def __init__(self) -> None:
        self._outputs: list[Output] = []
        self._bursts: list[str] = []  # of the last output, when it is logs; joined when it ends

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
            self._outputs[-1] = LogsOutput(last.stream, self._bursts[0])
