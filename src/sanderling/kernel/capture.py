"""
Everything a cell shows leaves through here, in the order it happened.

`sys.stdout` and `sys.stderr` send messages on the host's socket; what reaches descriptors 1 and 2
by other ways waits in two pipes, which this side empties before each message (docs/protocol.md,
"Order"). In a forked child there is no socket: its streams write to the descriptors.

The names this module uses at run time are bound at import, before any user code: a cell that
replaces `os.write` or `json.dumps` breaks itself and nothing else.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, Literal

from sanderling.kernel import protocol

Stream = Literal["stdout", "stderr"]

_PIPE_READ_BYTES = 32768
_READS_MAX = 64  # per emptying: a daemon that never stops printing must not hold a cell for ever
_os_read, _os_write, _get_ident = os.read, os.write, threading.get_ident
_split = protocol.split
_fflush = ctypes.CDLL(None).fflush


class Interrupts:
    """
    SIGINT becomes KeyboardInterrupt while a cell's own code runs, and waits while ours does.

    A message must not be cut, and an interrupt between cells must not end the kernel.
    """

    def __init__(self) -> None:
        self._main = _get_ident()
        self._is_armed = False
        self._holds = 0
        self._is_pending = False

    def install(self) -> None:
        """Take SIGINT; again before each cell, in case the last one took it away."""
        signal.signal(signal.SIGINT, self._on_signal)

    def arm(self) -> None:
        self._is_pending = False
        self._is_armed = True

    def disarm(self) -> None:
        self._is_armed = False

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Put off an interrupt until the block is done."""
        if _get_ident() != self._main:
            yield
            return
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
        if self._is_pending and self._is_armed and self._holds == 0:
            self._is_pending = False
            raise KeyboardInterrupt

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if not self._is_armed:
            return
        if self._holds:
            self._is_pending = True
        else:
            raise KeyboardInterrupt


class Channel:
    """The kernel's end of the socket and of the pipes behind descriptors 1 and 2."""

    def __init__(self, connection: socket.socket, out_read: int, err_read: int) -> None:
        self.interrupts = Interrupts()
        self._socket = connection
        self._send_bytes = connection.send
        self._pipes: tuple[tuple[int, Stream], ...] = ((out_read, "stdout"), (err_read, "stderr"))
        self._poll = select.poll()
        for fd in (out_read, err_read):
            self._poll.register(fd, select.POLLIN)
        self._lock = threading.RLock()
        self._is_child = False
        self._nonce = ""
        self._logs_headers: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}
        os.register_at_fork(after_in_child=self._become_child)

    def receive(self) -> bytes:
        """Wait for one message of the host's; empty when it has gone."""
        return self._socket.recv(protocol.MESSAGE_BYTES_MAX)

    def begin(self, nonce: str) -> None:
        """From here on, what is shown belongs to the cell with this nonce."""
        self._nonce = nonce
        for stream in ("stdout", "stderr"):
            header = {"op": "logs", "nonce": nonce, "stream": stream}
            [message] = _split(header, b"")
            self._logs_headers[stream] = message

    def say(self, op: str, fields: dict[str, Any], body: bytes = b"") -> None:
        """Send one value that belongs to no cell."""
        self._send({"op": op, **fields}, body)

    def show(self, op: str, fields: dict[str, Any], body: bytes = b"") -> None:
        """Send one value of the running cell, after all that waits in the pipes."""
        if self._is_child:
            return
        with self.interrupts.held(), self._lock:
            self._empty_pipes()
            self._send({"op": op, "nonce": self._nonce, **fields}, body)

    def write(self, stream: Stream, data: bytes) -> None:
        """Send text of a stream; in a forked child, to its descriptor."""
        if self._is_child:
            fd = 1 if stream == "stdout" else 2
            while data:
                data = data[_os_write(fd, data) :]
            return
        with self.interrupts.held(), self._lock:
            self._empty_pipes()
            self._send_logs(stream, data)

    def flush_all(self) -> None:
        """Flush Python's streams and C's, and empty the pipes."""
        with self.interrupts.held():
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(Exception):  # the cell may have put anything there
                    stream.flush()
            _fflush(None)
            with self._lock:
                self._empty_pipes()

    def _send(self, header: dict[str, Any], body: bytes) -> None:
        for message in _split(header, body):
            self._send_bytes(message)

    def _send_logs(self, stream: Stream, data: bytes) -> None:
        header = self._logs_headers[stream]
        if len(header) + len(data) <= protocol.MESSAGE_BYTES_MAX:
            self._send_bytes(header + data)
        else:
            self._send({"op": "logs", "nonce": self._nonce, "stream": stream}, data)

    def _empty_pipes(self) -> None:
        if not self._poll.poll(0):
            return
        for fd, stream in self._pipes:
            for _ in range(_READS_MAX):
                try:
                    data = _os_read(fd, _PIPE_READ_BYTES)
                except OSError:  # empty, or the cell closed it: its own loss
                    break
                if not data:
                    break
                self._send_logs(stream, data)

    def _become_child(self) -> None:
        """In a forked child: no way to the host but the descriptors, and a lock of its own."""
        self._is_child = True
        self._lock = threading.RLock()
        self.interrupts.disarm()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with contextlib.suppress(OSError):
            self._socket.close()
        for fd, _ in self._pipes:
            with contextlib.suppress(OSError):
                os.close(fd)


class _Raw(io.RawIOBase):
    """The bytes under a text stream."""

    def __init__(self, channel: Channel, stream: Stream) -> None:
        self._channel = channel
        self._stream: Stream = stream

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1 if self._stream == "stdout" else 2

    def isatty(self) -> bool:
        return False

    def write(self, data: Any) -> int:
        whole = bytes(data)
        if whole:
            self._channel.write(self._stream, whole)
        return len(whole)

    @property
    def name(self) -> str:
        return f"<{self._stream}>"


def text_stream(channel: Channel, stream: Stream) -> io.TextIOWrapper:
    """
    Return a text stream like Python's own: a line leaves the process as soon as it is complete.

    Text that UTF-8 cannot hold (lone surrogates) is written as escapes.
    """
    buffered = io.BufferedWriter(_Raw(channel, stream), buffer_size=8192)
    return io.TextIOWrapper(
        buffered, encoding="utf-8", errors="backslashreplace", line_buffering=True
    )
