"""
`sys.stdout` and `sys.stderr` of a kernel: text streams whose lines leave the process at once.

They are ordinary text streams over a raw stream that sends (`Outlet`), so that everything a program
may do with a stream works: `.buffer`, `reconfigure`, `detach`, `fileno`. They cannot be closed.
Whatever a cell has put in their place is flushed and replaced when the cell is over: a cell that
forgot to restore `sys.stdout` would otherwise silence all cells after it.
"""

from __future__ import annotations

import ctypes
import functools
import io
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, cast

from sanderling.kernel.channel import DESCRIPTORS, Channel, Stream

_LINE_BUFFERED = 1  # _IOLBF of <stdio.h>, on every Linux

# Looked up where this is imported, in the zygote: half a millisecond that no kernel spends.
_libc = ctypes.CDLL(None)
_fflush, _setvbuf = _libc.fflush, _libc.setvbuf
_c_stdout = ctypes.c_void_p.in_dll(_libc, "stdout")

# Taken now: these run while user code may have put others in their place.
_bytes, _len, _memoryview, _type, _ValueError = bytes, len, memoryview, type, ValueError
_frames, _listdir, _native_id = sys._current_frames, os.listdir, threading.get_native_id  # noqa: SLF001
_write_text = io.TextIOWrapper.write


class Outlet(io.BufferedIOBase):
    """
    The binary stream below a text stream. Holds nothing back: what is written is sent.

    It has no buffer of its own because a KeyboardInterrupt between sending and forgetting would
    send the same text again.
    """

    mode = "wb"

    def __init__(self, channel: Channel, stream: Stream) -> None:
        self.name = f"<{stream}>"
        self.flush_other: Callable[[], None] | None = None
        self._send = channel.write
        self._stream = stream
        self._descriptor = DESCRIPTORS[stream]

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: Any, /) -> int:
        if self.flush_other is not None:
            self.flush_other()  # an unfinished line there was written before this
        if _type(data) is not _bytes:
            data = _bytes(_memoryview(data))
        if data:
            self._send(self._stream, data)
        return _len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Do nothing: the next cell writes here too."""


class Leftovers:
    """
    Threads that earlier cells have left running, and the cell of each.

    What they print while a later cell runs is shown there, because it may be wanted, but each line
    says whose it is: one cell's output is never taken for another's. Linux numbers threads one
    after another, so a new one is not taken for one that has ended.
    """

    def __init__(self) -> None:
        self._cells: dict[int, int] = {}
        self._inside: set[tuple[int, int]] = set()  # stream and thread: in the middle of a line

    def note(self, cell: int, streams: Iterable[io.TextIOWrapper]) -> None:
        """The cell is over: threads that are not known yet, except ours, are what it leaves."""
        alive: set[int] = set()
        if _len(_frames()) > 1:
            try:
                alive = {int(name) for name in _listdir("/proc/self/task")} - {_native_id()}
            except OSError:  # the cell has used up its descriptors
                return
        self._cells = {thread: self._cells.get(thread, cell) for thread in alive}
        for stream in streams:
            names = vars(stream)
            names.pop("write", None)
            if alive:  # else writing costs no more than it must
                names["write"] = functools.partial(self._write, stream)

    def _write(self, stream: io.TextIOWrapper, text: str, /) -> int:
        cell = self._cells.get(_native_id())
        if cell is None or _type(text) is not str or not text:
            return _write_text(stream, text)
        line = (id(stream), _native_id())
        mark = f"[cell {cell}] "
        marked = text[:-1].replace("\n", "\n" + mark) + text[-1]
        _write_text(stream, marked if line in self._inside else mark + marked)
        (self._inside.discard if text[-1] == "\n" else self._inside.add)(line)
        return _len(text)


class Streams:
    """The two text streams, and C's own below them."""

    def __init__(self, channel: Channel) -> None:
        self._outlets: dict[Stream, Outlet] = {name: Outlet(channel, name) for name in DESCRIPTORS}
        self._texts: dict[Stream, io.TextIOWrapper] = {}
        self._leftovers = Leftovers()
        for name in DESCRIPTORS:
            self._renew(name)
        channel.flush_with(self.flush)
        # Else a child would write the unfinished line of its parent once more.
        os.register_at_fork(before=self.flush)
        # Into a pipe C writes whole buffers; its lines should come between Python's.
        _setvbuf(_c_stdout, None, _LINE_BUFFERED, 0)

    @property
    def are_replaced(self) -> bool:
        """Whether user code has put other streams in the place of ours."""
        return any(getattr(sys, name, None) is not text for name, text in self._texts.items())

    def install(self) -> None:
        """Put our streams (back) into `sys`."""
        for name in DESCRIPTORS:
            if self._is_detached(name):
                self._renew(name)
            setattr(sys, name, self._texts[name])
            setattr(sys, f"__{name}__", self._texts[name])

    def flush(self) -> None:
        """Send unfinished lines of ours."""
        for text in self._texts.values():
            try:
                text.flush()
            except _ValueError:
                continue  # detached: nothing is left in it

    def flush_replacements(self) -> None:
        """Flush what user code has put in their place. This is user code: cross the border."""
        for name, text in self._texts.items():
            replacement: Any = getattr(sys, name, None)
            if replacement is not text and hasattr(replacement, "flush"):
                replacement.flush()

    def flush_all(self) -> None:
        """Send unfinished lines of ours and of C."""
        self.flush()
        _fflush(None)

    def note_leftovers(self, cell: int) -> None:
        """The cell is over: what its threads go on to print is marked as its own."""
        self._leftovers.note(cell, self._texts.values())

    def _is_detached(self, name: Stream) -> bool:
        try:
            return self._texts[name].buffer is not self._outlets[name]
        except ValueError:
            return True

    def _renew(self, name: Stream) -> None:
        text = io.TextIOWrapper(
            self._outlets[name], encoding="utf-8", errors="backslashreplace", line_buffering=True
        )
        cast("Any", text).mode = "w"  # as Python's own streams have it
        self._texts[name] = text
        other: Stream = "stderr" if name == "stdout" else "stdout"
        self._outlets[other].flush_other = text.flush
