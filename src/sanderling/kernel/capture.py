"""
`sys.stdout` and `sys.stderr` of a kernel: text streams whose lines leave the process at once.

They are ordinary text streams over a raw stream that sends (`Outlet`), so that everything a program
may do with a stream works: `.buffer`, `reconfigure`, `detach`, `fileno`. They cannot be closed.
Whatever a cell has put in their place is flushed and replaced when the cell is over: a cell that
forgot to restore `sys.stdout` would otherwise silence all cells after it.
"""

from __future__ import annotations

import ctypes
import io
import os
import sys
from collections.abc import Callable
from typing import Any, cast

from sanderling.kernel.channel import DESCRIPTORS, Channel, Stream

_LINE_BUFFERED = 1  # _IOLBF of <stdio.h>, on every Linux

# Looked up where this is imported, in the zygote: half a millisecond that no kernel spends.
_libc = ctypes.CDLL(None)
_fflush, _setvbuf = _libc.fflush, _libc.setvbuf
_c_stdout = ctypes.c_void_p.in_dll(_libc, "stdout")

# Taken now: these run while user code may have put others in their place.
_bytes, _len, _memoryview, _type, _ValueError = bytes, len, memoryview, type, ValueError


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


class Streams:
    """The two text streams, and C's own below them."""

    def __init__(self, channel: Channel) -> None:
        self._outlets: dict[Stream, Outlet] = {name: Outlet(channel, name) for name in DESCRIPTORS}
        self._texts: dict[Stream, io.TextIOWrapper] = {}
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
