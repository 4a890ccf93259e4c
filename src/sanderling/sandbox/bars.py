r"""
Progress bars: text that goes back to the beginning of its line (`\r`) and writes over itself.

A bar may be drawn a thousand times a second. `Bar` holds it for a moment and lets go of what was
written over meanwhile; what it passes on looks the same in a terminal as all that was written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

Stream = Literal["stdout", "stderr"]

_HOLD_S = 0.25
_HELD_CHARS_MAX = 4096


class Bar:
    """The unfinished line of one stream that is being written over."""

    def __init__(self, pass_on: Callable[[Stream, str], None]) -> None:
        self._pass_on = pass_on
        self._stream: Stream = "stdout"
        self._text = ""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_held(self) -> bool:
        """Whether there is text that was not passed on yet."""
        return bool(self._text)

    def add(self, stream: Stream, text: str) -> None:
        """Take text of a stream; pass on what is no bar at once."""
        if stream != self._stream:
            self.release()
            self._stream = stream
        self._text = compact(self._text + text)
        if len(self._text) > _HELD_CHARS_MAX or not _is_open(self._text):
            self.release()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_HOLD_S, self.release)

    def release(self) -> None:
        """Pass on what is held."""
        text = self._text
        self.drop()
        if text:
            self._pass_on(self._stream, text)

    def drop(self) -> None:
        """Forget what is held."""
        self._text = ""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def compact(text: str) -> str:
    """Return `text` without what is written over by as many or more characters in its last line."""
    if "\x1b" in text or "\b" in text:
        return text  # the cursor goes other ways, too
    line_start = text.rfind("\n") + 1
    first, *drawings = text[line_start:].split("\r")
    kept: list[str] = []
    width = -1
    for drawing in reversed(drawings):
        if len(drawing) > width:
            kept.append(drawing)
            width = len(drawing)
    if line_start and drawings and len(first) <= width:
        first = ""  # it began at the line's start as well
    return text[:line_start] + "\r".join((first, *reversed(kept)))


def _is_open(text: str) -> bool:
    """Whether a line that is being written over comes last, and nothing but it."""
    return "\r" in text.replace("\r\n", "\n") and "\n" not in text
