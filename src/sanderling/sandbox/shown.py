"""
What a running cell has shown, until somebody takes it: bounded, whatever the cell shows.

The box (`box.py`) puts in what arrives, in its order; `Box.run_cell` takes it out.
"""

from __future__ import annotations

import asyncio
import codecs
import collections
from dataclasses import dataclass, field, replace
from typing import Literal

from sanderling.sandbox.bars import Bar
from sanderling.sandbox.base import Cleared, Error, Image, Logs, Result

VALUES_BYTES_MAX = 64 << 20  # results and images of one cell together; the rest is dropped
VALUES_MAX = 200  # results and images to be seen; a figure per iteration of a long loop is a bug
ALL_VALUES_MAX = 2000  # with those that were cleared away or replaced
# How soon one picture of a moving thing follows another: at first, and as a part of the cell's age,
# so that the pictures of an hour are some hundreds.
_FRAME_S_MIN = 0.4
_FRAME_AGE_PART = 1 / 50
_PIECE_BYTES = 64  # what a piece of logs costs beside its text; each change of stream begins one
_TAIL_PIECE_CHARS = 4096  # short pieces of one stream are joined up to this

_Decoder = codecs.getincrementaldecoder("utf-8")

Stream = Literal["stdout", "stderr"]


@dataclass(frozen=True, slots=True)
class CellEnded:
    """
    The last thing of every cell.

    is_out_of_memory: the machine killed a process of the box for memory during the cell.
    dropped_bytes: logs, results and images left out because the cell showed too much.
    is_crowded: it was refused a process or a thread, because there were too many.
    is_throttled: its processors were used up at times.
    has_leftovers: threads or processes are left in the box beside the kernel's one thread.
    """

    status: Literal["ok", "error", "interrupted", "died"]
    is_out_of_memory: bool
    dropped_bytes: int
    is_crowded: bool = False
    is_throttled: bool = False
    has_leftovers: bool = False


Shown = Logs | Result | Image | Cleared | Error | CellEnded


@dataclass(eq=False)
class _Replaceable:
    """A value with an identity that nobody has taken yet."""

    value: Result | Image


@dataclass
class _Frames:
    """When what replaces something was passed on: a thing that moves is shown now and then."""

    began_s: float | None = None
    last_s: float = 0.0
    timer: asyncio.TimerHandle | None = field(default=None)

    def wait_s(self) -> float:
        """How long the next one has to wait; 0: it may go on now."""
        now = asyncio.get_running_loop().time()
        if self.began_s is None:
            self.began_s, self.last_s = now, now
            return 0.0
        pause = max(_FRAME_S_MIN, (now - self.began_s) * _FRAME_AGE_PART)
        wait = self.last_s + pause - now
        if wait <= 0:
            self.last_s = now
        return max(0.0, wait)

    def cancel(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Cell:
    """
    What the running cell has shown so far, bounded, waiting to be taken.

    The first half of the logs allowance is passed on at once. From then on logs are held, the
    oldest dropped as more arrive, so that at the end the last half is still there to be shown.
    A piece costs a little beside its text, so that a million changes between the two streams are
    not a million entries for everybody after us.

    What takes the place of something shown before (a progress bar, `clear_output`,
    `update_display`) may come a thousand times a second; it is held for a moment, and what was
    replaced meanwhile is nobody's.
    """

    def __init__(self, nonce: str, logs_bytes_max: int) -> None:
        self.nonce = nonce
        self.status: Literal["ok", "error", "interrupted", "died"] = "died"
        self.dropped_bytes = 0
        self._head_left = logs_bytes_max // 2
        self._tail_max = logs_bytes_max - self._head_left
        self._head_stream: Stream | None = None  # of the last piece passed on
        self._tail: collections.deque[Shown] = collections.deque()
        self._tail_bytes = 0  # what its logs cost
        self._dropped_logs = 0
        self._values = 0
        self._values_bytes = 0
        self._all_values = 0
        self._ready: collections.deque[Shown | _Replaceable] = collections.deque()
        self._replaceable: dict[str, _Replaceable] = {}  # of what is ready
        self._displayed: set[str] = set()  # ids that this cell has shown
        self._frames = _Frames()
        self._is_held = False
        self._logs_bytes_max = logs_bytes_max
        self._bar = Bar(self._add_logs)
        self.has_ended = False
        self._change: asyncio.Future[None] | None = None  # somebody waits for one
        self._decoders: dict[Stream, codecs.IncrementalDecoder] = {}

    async def next(self) -> Shown | None:
        """The next thing shown, or None when the cell is over. For one caller."""
        while not self._ready or self._is_held:
            if self.has_ended:
                return None
            self._change = asyncio.get_running_loop().create_future()
            try:
                await self._change
            finally:
                self._change = None
        shown = self._ready.popleft()
        if isinstance(shown, _Replaceable):
            self._replaceable = {k: v for k, v in self._replaceable.items() if v is not shown}
            return shown.value
        return shown

    def add_bytes(self, stream: Stream, data: bytes) -> None:
        """Text of one stream, whichever way it came; may stop inside a character."""
        decoder = self._decoders.get(stream)
        if decoder is None:
            decoder = self._decoders[stream] = _Decoder("replace")
        self.add_logs(stream, decoder.decode(data))

    def add_logs(self, stream: Stream, text: str) -> None:
        """Text of one stream, whole characters."""
        if not text or self.has_ended:
            return
        if "\r" in text or self._bar.is_held:
            self._bar.add(stream, text)
        else:
            self._add_logs(stream, text)

    def _add_logs(self, stream: Stream, text: str) -> None:
        if self._head_left > 0:
            head, text = _cut(text, self._head_left)
            self._head_left -= _size(head)
            if stream != self._head_stream:
                self._head_left -= _PIECE_BYTES
            if text:
                self._head_left = 0  # what is left has no room for the next character
            if head:
                self._pass_on(Logs(stream, head))
                self._head_stream = stream
        # A piece at most half the tail, so that dropping the oldest never empties it.
        step = max(1, self._tail_max // 8)
        for start in range(0, len(text), step):
            self._add_to_tail(stream, text[start : start + step])
            self._shorten_tail()

    def _add_to_tail(self, stream: Stream, piece: str) -> None:
        self._tail_bytes += _size(piece) + _PIECE_BYTES
        last = self._tail[-1] if self._tail else None
        if (
            isinstance(last, Logs)
            and last.stream == stream
            and len(last.text) + len(piece) <= min(_TAIL_PIECE_CHARS, self._tail_max // 8)
        ):
            piece = last.text + piece
            self._tail_bytes -= _PIECE_BYTES
            self._tail.pop()
        self._tail.append(Logs(stream, piece))

    def add_value(self, value: Result | Image | Error, size: int) -> None:
        """Something that is no text of a stream, of so many bytes."""
        if self.has_ended:
            return
        self._bar.release()
        if isinstance(value, Result | Image) and value.display_id is not None:
            if value.is_update and self._replaced(value, size):
                return
            if value.is_update:
                self._hold()
        if isinstance(value, Error):
            self._values += 1
        else:
            size = _value_bytes(value)  # as it is counted when it goes
            # An update of what an earlier cell has shown is one more to be seen.
            self._values += not (value.is_update and value.display_id in self._displayed)
            if value.display_id is not None:
                self._displayed.add(value.display_id)
        self._all_values += 1
        self._values_bytes += size
        if not self._has_room:
            self.dropped_bytes += size
        elif self._tail:
            self._tail.append(value)
        elif isinstance(value, Result | Image) and value.display_id is not None:
            entry = self._replaceable[value.display_id] = _Replaceable(value)
            self._pass_on(entry)
        else:
            self._pass_on(value)

    @property
    def _has_room(self) -> bool:
        return (
            self._values <= VALUES_MAX
            and self._all_values <= ALL_VALUES_MAX
            and self._values_bytes <= VALUES_BYTES_MAX
        )

    def clear(self) -> None:
        """Everything shown so far is gone: what nobody has taken yet need not be seen at all."""
        if self.has_ended:
            return
        self._bar.drop()
        for shown in (*self._ready, *self._tail):
            value = shown.value if isinstance(shown, _Replaceable) else shown
            if isinstance(value, Result | Image):
                self._all_values -= 1
                self._values_bytes -= _value_bytes(value)
        self._ready.clear()
        self._replaceable.clear()
        self._displayed.clear()
        self._tail.clear()
        self._tail_bytes = self._dropped_logs = self._values = self.dropped_bytes = 0
        self._head_left = self._logs_bytes_max // 2
        self._hold()
        self._pass_on(Cleared())

    def _replaced(self, value: Result | Image, size: int) -> bool:
        """Put a value in the place of one that nobody has taken yet, if there is one."""
        assert value.display_id is not None
        entry = self._replaceable.get(value.display_id)
        if entry is None:
            return False
        more = size - _value_bytes(entry.value)
        if self._values_bytes + more > VALUES_BYTES_MAX:
            self.dropped_bytes += size
            return True
        self._values_bytes += more
        entry.value = replace(value, is_update=entry.value.is_update)
        return True

    def _hold(self) -> None:
        """Keep back what comes now, if the last picture of a moving thing was a moment ago."""
        if self._is_held:
            return
        wait_s = self._frames.wait_s()
        if wait_s > 0:
            self._is_held = True
            self._frames.timer = asyncio.get_running_loop().call_later(wait_s, self._let_go)

    def _let_go(self) -> None:
        self._frames.last_s = asyncio.get_running_loop().time()
        self._is_held = False
        self._tell()

    def end(self, status: Literal["ok", "error", "interrupted", "died"]) -> None:
        """The cell is over; what was held can be taken."""
        if self.has_ended:
            return
        for stream, decoder in self._decoders.items():
            self.add_logs(stream, decoder.decode(b"", final=True))
        self._bar.release()
        if self._dropped_logs:
            self.dropped_bytes += self._dropped_logs
            notice = f"\n[… {self._dropped_logs:,} bytes of output left out …]\n"
            self._ready.append(Logs("stdout", notice))
        self._ready.extend(self._tail)
        self._tail.clear()
        self.status = status
        self.has_ended = True
        self._is_held = False
        self._frames.cancel()
        self._tell()

    def _shorten_tail(self) -> None:
        while self._tail_bytes > self._tail_max:
            oldest = self._tail.popleft()
            if isinstance(oldest, Logs):
                size = _size(oldest.text)
                self._tail_bytes -= size + _PIECE_BYTES
                self._dropped_logs += size
            else:
                self._pass_on(oldest)

    def _pass_on(self, shown: Shown | _Replaceable) -> None:
        self._head_stream = None
        self._ready.append(shown)
        self._tell()

    def _tell(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)


def _cut(text: str, bytes_max: int) -> tuple[str, str]:
    """Cut a text after `bytes_max` bytes of UTF-8, or before the character there."""
    if text.isascii():
        return text[:bytes_max], text[bytes_max:]
    head = text.encode("utf-8", "replace")[:bytes_max].decode("utf-8", "ignore")
    return text[: len(head)], text[len(head) :]


def _value_bytes(value: Result | Image) -> int:
    body = len(value.data) if isinstance(value, Image) else _size(value.text)
    return body + sum(_size(text) for _, text in value.parts)


def _size(text: str) -> int:
    """Bytes of a text as UTF-8, near enough: most are ASCII, and none is undercounted by much."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
