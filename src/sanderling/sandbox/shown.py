"""
What a running cell has shown, until somebody takes it: bounded, whatever the cell shows.

The box (`box.py`) puts in what arrives, in its order; `Box.run_cell` takes it out.
"""

from __future__ import annotations

import asyncio
import codecs
import collections
from dataclasses import dataclass
from typing import Literal

from sanderling.sandbox.base import Error, Image, Logs, Result

VALUES_BYTES_MAX = 64 << 20  # results and images of one cell together; the rest is dropped
VALUES_MAX = 200  # results and images of one cell; a figure per iteration of a long loop is a bug
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


Shown = Logs | Result | Image | Error | CellEnded


class Cell:
    """
    What the running cell has shown so far, bounded, waiting to be taken.

    The first half of the logs allowance is passed on at once. From then on logs are held, the
    oldest dropped as more arrive, so that at the end the last half is still there to be shown.
    A piece costs a little beside its text, so that a million changes between the two streams are
    not a million entries for everybody after us.
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
        self._ready: collections.deque[Shown] = collections.deque()
        self.has_ended = False
        self._change: asyncio.Future[None] | None = None  # somebody waits for one
        self._decoders: dict[Stream, codecs.IncrementalDecoder] = {}

    async def next(self) -> Shown | None:
        """The next thing shown, or None when the cell is over. For one caller."""
        while not self._ready:
            if self.has_ended:
                return None
            self._change = asyncio.get_running_loop().create_future()
            try:
                await self._change
            finally:
                self._change = None
        return self._ready.popleft()

    def add_bytes(self, stream: Stream, data: bytes) -> None:
        """Text of one stream, whichever way it came; may stop inside a character."""
        decoder = self._decoders.get(stream)
        if decoder is None:
            decoder = self._decoders[stream] = _Decoder("replace")
        self.add_logs(stream, decoder.decode(data))

    def add_logs(self, stream: Stream, text: str) -> None:
        if not text or self.has_ended:
            return
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
        if self.has_ended:
            return
        self._values += 1
        self._values_bytes += size
        if self._values > VALUES_MAX or self._values_bytes > VALUES_BYTES_MAX:
            self.dropped_bytes += size
        elif self._tail:
            self._tail.append(value)
        else:
            self._pass_on(value)

    def end(self, status: Literal["ok", "error", "interrupted", "died"]) -> None:
        if self.has_ended:
            return
        for stream, decoder in self._decoders.items():
            self.add_logs(stream, decoder.decode(b"", final=True))
        if self._dropped_logs:
            self.dropped_bytes += self._dropped_logs
            notice = f"\n[… {self._dropped_logs:,} bytes of output left out …]\n"
            self._ready.append(Logs("stdout", notice))
        self._ready.extend(self._tail)
        self._tail.clear()
        self.status = status
        self.has_ended = True
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

    def _pass_on(self, shown: Shown) -> None:
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


def _size(text: str) -> int:
    """Bytes of a text as UTF-8, near enough: most are ASCII, and none is undercounted by much."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
