"""
What is told of an exception: its name, its message, and a traceback of the user's own lines.

The text is Python's own, less the frames of the kernel. Making it runs code of the user's (an
exception's `__str__`, its notes), so it belongs on the far side of the border.
"""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sanderling.kernel import protocol

TRACEBACK_CHARS_MAX = 65536  # a recursion through two functions is a thousand different frames
CELL_PREFIX = "<cell "

FRAMES_MAX = 40  # of one exception; more are told by the first and the last of them

KERNEL_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep


@dataclass(frozen=True, slots=True)
class Report:
    """An `error` message in the making. All three are clean UTF-8 text within their limits."""

    name: str
    message: str
    text: str
    is_interrupt: bool = False


def describe(error: BaseException) -> Report:
    """Return what is told of `error`. Runs user code; raises whatever that raises."""
    told = traceback.TracebackException(type(error), error, error.__traceback__, compact=True)
    _tidy(told, is_top=True)
    # A syntax error of the cell itself has no frames left, and no header then.
    lines = told.format() if told.stack else told.format_exception_only()
    return Report(
        name=_name(error),
        message=protocol.clean(str(error), protocol.ERROR_MESSAGE_CHARS_MAX),
        text=_shorten(protocol.clean("".join(lines))),
        is_interrupt=_is_interrupt(error),
    )


def describe_plainly(error: BaseException) -> Report:
    """Return what can be told of an exception that cannot be described. Runs no user code."""
    name, message = _name(error), "<the exception could not be shown>"
    return Report(name, message, f"{name}: {message}\n", _is_interrupt(error))


def _name(error: BaseException) -> str:
    # As `type` itself reads it: a metaclass may have other ideas.
    name: str = type.__dict__["__name__"].__get__(type(error))
    return protocol.clean(name, protocol.NAME_CHARS_MAX)


def _is_interrupt(error: BaseException) -> bool:
    return issubclass(type(error), KeyboardInterrupt)  # isinstance would ask the object


def _tidy(told: traceback.TracebackException, *, is_top: bool) -> None:
    """Take the kernel's frames, and the event loop's above a cell, out of it and of its causes."""
    frames = [f for f in told.stack if not f.filename.startswith(KERNEL_FOLDER)]
    if is_top:
        firsts = (i for i, f in enumerate(frames) if f.filename.startswith(CELL_PREFIX))
        frames = frames[next(firsts, 0) :]
    told.stack = _Cut.of(frames)
    for cause in (told.__cause__, told.__context__):
        if cause is not None:
            _tidy(cause, is_top=False)
    for member in told.exceptions or () if hasattr(told, "exceptions") else ():
        _tidy(member, is_top=False)


class _Cut(traceback.StackSummary):
    """Frames without their middle, where a recursion through several functions made many."""

    left_out = 0

    @classmethod
    def of(cls, frames: list[traceback.FrameSummary]) -> _Cut:
        """A line that calls itself again and again counts once: Python says so in one line."""
        places = [(f.filename, f.lineno, f.name) for f in frames]
        different = sum(here != before for here, before in pairwise(places)) + 1
        cut = cls()
        if different > FRAMES_MAX:
            half = FRAMES_MAX // 2
            cut.left_out = len(frames) - 2 * half
            frames = [*frames[:half], *frames[-half:]]
        cut.extend(frames)
        return cut

    def format(self, **options: Any) -> list[str]:
        half = len(self) // 2
        if not self.left_out:
            return super().format(**options)
        first, last = (traceback.StackSummary.from_list(p) for p in (self[:half], self[half:]))
        note = f"  [… {self.left_out:,} calls left out …]\n"
        return [*first.format(**options), note, *last.format(**options)]


def _shorten(text: str) -> str:
    if len(text) <= TRACEBACK_CHARS_MAX:
        return text
    half = TRACEBACK_CHARS_MAX // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]}\n[… {left_out:,} characters left out …]\n{text[-half:]}"
