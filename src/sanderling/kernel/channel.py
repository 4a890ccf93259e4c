"""
The kernel's mouth: every message to the host passes through one lock, in one order.

Before a message leaves, the host gets the time to take what other programs have put into the pipes
behind descriptors 1 and 2 (docs/protocol.md, rule 1). Between cells there is nobody to tell: text
is dropped. In a forked child the socket is closed, and text goes to the descriptors themselves.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

from sanderling.kernel import protocol
from sanderling.kernel.border import Border

Stream = Literal["stdout", "stderr"]
DESCRIPTORS: dict[Stream, int] = {"stdout": 1, "stderr": 2}

_PATIENCE_S = 1.0  # the host needs 0.1 ms; a machine on its knees gets more
_PATIENCE_LOST_S = 0.002  # per message, while some program writes without end
_PAUSE_S = 20e-6
_FIRST_SPARE_FD = 16
_BESIDE_BYTES = socket.CMSG_SPACE(4 * array.array("i").itemsize)  # four descriptors
_CLOSE_ON_EXEC = int(socket.MSG_CMSG_CLOEXEC)  # a plain number: it is passed for each message
_CONTINUATION = range(0x80, 0xC0)  # bytes inside a UTF-8 character

_LOGS: dict[Stream, bytes] = {
    stream: protocol.prefix({"op": "logs", "nonce": "%b", "stream": stream})
    for stream in DESCRIPTORS
}

_DONE = protocol.prefix({"op": "done", "nonce": "%b", "status": "%b"})

# Taken now: these run while user code may have put others in their place.
_write, _close, _exit, _dup2 = os.write, os.close, os._exit, os.dup2
_fcntl, _DUPLICATE = fcntl.fcntl, fcntl.F_DUPFD_CLOEXEC
_len, _OSError = len, OSError
_now, _sleep, _POLLIN = time.monotonic, time.sleep, select.POLLIN


class Channel:
    """The socket and the pipes of one kernel."""

    def __init__(self, host: socket.socket, pipes: dict[Stream, int], border: Border) -> None:
        self.is_child = False
        self._host = host
        self._send: Callable[[bytes], int] = host.send
        self._receive = host.recvmsg
        self._received: list[int] = []  # descriptors that came with the last message
        self._pipes = pipes
        self._border = border
        # Reentrant: a __del__ that prints may run at any allocation, in the middle of a message.
        self._lock = threading.RLock()
        self._is_sending = False
        self._waiting: list[tuple[Stream, bytes]] = []
        self._nonce: str | None = None
        self._prefixes: dict[Stream, bytes] = {}
        self._flush: Callable[[], None] | None = None
        self._patience_s = _PATIENCE_S
        self._poller = select.poll()
        for pipe in pipes.values():
            self._poller.register(pipe, _POLLIN)
        self._poll = self._poller.poll
        border.shield(Channel.write.__code__, Channel.send.__code__)
        os.register_at_fork(after_in_child=self._become_child)

    def flush_with(self, flush: Callable[[], None]) -> None:
        """Have `flush` called before each message that is not text, for text held back."""
        self._flush = flush

    def begin(self, nonce: str) -> None:
        """From now on, what is sent belongs to the cell with this nonce."""
        with self._lock:
            self._nonce = nonce
            for stream, template in _LOGS.items():
                self._prefixes[stream] = template % nonce.encode()

    def end(self, status: str) -> None:
        """Send `done`; from now on there is no cell."""
        if self._flush is not None:
            self._flush()
        with self._lock:
            self._is_sending = True
            try:
                self._yield_to_pipes()
            finally:
                self._is_sending = False
            self._send_waiting()
            done = _DONE % ((self._nonce or "").encode(), status.encode())
            self._nonce = None  # first: a signal handler that prints may come at any line
            self._transmit(done)

    def is_quiet(self, seconds: float) -> bool:
        """Whether nothing arrives for so long."""
        poller = select.poll()
        poller.register(self._host, _POLLIN)
        return not poller.poll(seconds * 1000)

    @contextlib.contextmanager
    def muted(self) -> Iterator[None]:
        """Send nothing meanwhile."""
        send, self._send = self._send, _len
        try:
            yield
        finally:
            self._send = send

    def receive(self) -> bytes:
        """Return the host's next message; empty when it has closed the socket."""
        message, beside, _, _ = self._receive(
            protocol.MESSAGE_BYTES_MAX + 1, _BESIDE_BYTES, _CLOSE_ON_EXEC
        )
        if beside:
            self._received = [fd for _, _, data in beside for fd in array.array("i", data)]
        return message

    def renew_pipes(self) -> None:
        """
        Take the pipes that came with the last message in place of the present ones.

        If there was no room for their descriptors, because user code has used up all, nothing is
        changed, and what it prints past us is taken for an earlier cell's.
        """
        received, self._received = self._received, []
        targets = (*DESCRIPTORS.values(), *self._pipes.values())
        spare: list[int] = []
        try:
            # First out of the way: user code may have closed a target, and its number was free.
            for fd in received:
                spare.append(_fcntl(fd, _DUPLICATE, _FIRST_SPARE_FD))  # noqa: PERF401 - as above
        except _OSError:
            received += spare
            spare = []
        for fd in received:
            _close(fd)
        if len(spare) == len(targets):
            for fd, target in zip(spare, targets, strict=True):
                _dup2(fd, target, target in DESCRIPTORS.values())
            for pipe in self._pipes.values():
                self._poller.register(pipe, _POLLIN)
            self._patience_s = _PATIENCE_S
        for fd in spare:
            _close(fd)

    def send(self, op: str, body: bytes = b"", **fields: Any) -> None:
        """
        Send one value that is not text. Belongs to the running cell; in a child it goes nowhere.

        Raises:
            FrameError: it is too long; nothing was sent.
        """
        if self._flush is not None:
            self._flush()
        if self.is_child:
            return
        with self._lock:
            header = {"op": op, **fields}
            if self._nonce is not None:
                header = {"op": op, "nonce": self._nonce, **fields}
            messages = protocol.split(header, body)
            first = next(messages)  # raises before anything is sent
            self._is_sending = True
            try:
                self._yield_to_pipes()
                self._transmit(first)
                for message in messages:
                    self._transmit(message)
            finally:
                self._is_sending = False
            self._send_waiting()
        if self._border.is_pending:
            self._border.deliver()

    def write(self, stream: Stream, data: bytes) -> None:
        """Send text, already encoded. Also called by threads that no cell waits for."""
        if self.is_child:
            self._write_through(stream, data)
            return
        with self._lock:
            if self._is_sending:
                self._waiting.append((stream, data))
                return
            if self._nonce is None:
                return
            self._is_sending = True
            try:
                self._yield_to_pipes()
                self._send_text(stream, data)
            finally:
                self._is_sending = False
            if self._waiting:
                self._send_waiting()
        if self._border.is_pending:
            self._border.deliver()

    def _send_waiting(self) -> None:
        while self._waiting:
            stream, data = self._waiting.pop(0)
            self.write(stream, data)

    def _send_text(self, stream: Stream, data: bytes) -> None:
        head = self._prefixes[stream]
        room = protocol.MESSAGE_BYTES_MAX - _len(head)
        start = 0
        while _len(data) - start > room:
            end = start + room
            # Cut between characters; three steps back are enough if it is UTF-8 at all.
            for _ in "123":
                if data[end] not in _CONTINUATION:
                    break
                end -= 1
            self._transmit(head + data[start:end])
            start = end
        self._transmit(head + data[start:] if start else head + data)

    def _yield_to_pipes(self) -> None:
        """
        Wait until the host has taken what other programs wrote before this moment.

        Only the host reads the pipes: were we to read them too, it could take new bytes for those
        it has counted, and show them too early. The wait is bounded, for a program may write
        without end; after one such wait the next ones are short.
        """
        if self._nonce is None or not self._has_waiting_bytes():
            return
        deadline = _now() + self._patience_s
        while self._has_waiting_bytes():
            if _now() > deadline:
                self._patience_s = _PATIENCE_LOST_S
                return
            _sleep(_PAUSE_S)
        self._patience_s = _PATIENCE_S

    def _has_waiting_bytes(self) -> bool:
        has_bytes = False
        for pipe, event in self._poll(0):
            if event & _POLLIN:
                has_bytes = True
            else:  # all its writers are gone, or user code closed it
                self._poller.unregister(pipe)
        return has_bytes

    def _transmit(self, message: bytes) -> None:
        try:
            self._send(message)
        except _OSError:
            _exit(0)  # the host is gone, or user code closed the socket: nobody hears us any more

    def _write_through(self, stream: Stream, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[_write(DESCRIPTORS[stream], view) :]

    def _become_child(self) -> None:
        self.is_child = True
        # Another thread may have held the old one when the process was forked.
        self._lock = threading.RLock()
        self._is_sending = False
        self._waiting = []
        self._host.close()
        for pipe in self._pipes.values():
            try:
                _close(pipe)
            except _OSError:
                continue  # user code has closed it
