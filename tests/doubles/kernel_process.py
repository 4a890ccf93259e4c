"""
A real kernel in an ordinary process, driven over its real socket and pipes: no wall, no event loop.

`run` keeps the host's ordering rule (docs/protocol.md, rule 2) and returns what a cell showed as
plain values, neighbouring text of one stream joined: ("stdout", text), ("stderr", text),
("result", text), ("display", text, parts, and display id and whether it is an update if it has
one), ("image", header, bytes), ("clear",), ("error", name, message, traceback), ("done", status).
"""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import sanderling
from sanderling.kernel import protocol

DEADLINE_S = 60.0
NONCE = "{:032x}"

_START = """
import os, sys
root, socket_fd, out_fd, err_fd, data_folder, *names = sys.argv[1:]
for place, fd in enumerate((socket_fd, out_fd, err_fd), start=3):
    os.dup2(int(fd), place, inheritable=False)
os.closerange(6, 64)
sys.path.insert(0, root)
from sanderling.kernel import main, preload
sys.path.remove(root)
if names:
    preload.preload(names)
main.serve(data_folder=data_folder)
"""

Shown = tuple[Any, ...]


class KernelDied(Exception):
    """The kernel ended instead of answering."""


class KernelProcess:
    """One kernel. Use as a context manager."""

    def __init__(self, python: str | Path, folder: Path, *, preload: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.cells = 0
        self._assembler = protocol.Assembler()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        out_read, out_write = os.pipe2(os.O_CLOEXEC)
        err_read, err_write = os.pipe2(os.O_CLOEXEC)
        self._pipes = {out_read: "stdout", err_read: "stderr"}
        for pipe in self._pipes:
            os.set_blocking(pipe, False)
        # High numbers, so that none is in the way of the places where the kernel expects them.
        fds = [
            fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 32)
            for fd in (theirs.fileno(), out_read, err_read)
        ]
        root = str(Path(sanderling.__file__).parents[1])
        self.process = subprocess.Popen(
            [str(python), "-I", "-c", _START, root, *map(str, fds), str(folder), *preload],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out_write,
            stderr=err_write,
            pass_fds=fds,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "LANG": "C.UTF-8",
                "MPLBACKEND": "agg",
                "OPENBLAS_NUM_THREADS": "1",
                "OMP_NUM_THREADS": "1",
            },
        )
        theirs.close()
        for fd in (*fds, out_write, err_write):
            os.close(fd)
        self._decoders = {
            stream: codecs.getincrementaldecoder("utf-8")("replace")
            for stream in self._pipes.values()
        }
        self.early: list[Shown] = []
        try:
            self.ready = dict(self._until("ready", self.early).header)
        except BaseException:
            self.kill()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def configure(
        self,
        *,
        memory_bytes: int | None = None,
        cpu_count: int | None = None,
        proxy: str | None = None,
    ) -> None:
        limits = {"memory_bytes": memory_bytes, "cpu_count": cpu_count}
        self.send({"op": "configure", **limits, "proxy": proxy})
        self._until("configured", [])

    def run(self, code: str, *, during: Callable[[Shown], None] | None = None) -> list[Shown]:
        """
        Run one cell; return what it showed, ("done", status) last.

        during: called with each piece as it arrives (pieces of text are not joined yet).
        """
        self.start(code)
        return self.finish(during=during)

    def start(self, code: str) -> None:
        self.cells += 1
        self.nonce = NONCE.format(self.cells)
        header = {"op": "execute", "cell": self.cells, "nonce": self.nonce}
        self.send(header, code.encode("utf-8", "surrogatepass"))

    def finish(self, *, during: Callable[[Shown], None] | None = None) -> list[Shown]:
        shown: list[Shown] = []
        done = self._until("done", shown, during)
        return [*joined(shown), ("done", done.header["status"])]

    def text(self, code: str, stream: str = "stdout") -> str:
        """Run one cell that must end well; return what it wrote to a stream."""
        shown = self.run(code)
        assert shown[-1] == ("done", "ok"), shown
        return "".join(piece[1] for piece in shown if piece[0] == stream)

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def run_interrupted(self, code: str, *, after: str = "", every_s: float = 0.1) -> list[Shown]:
        """Run one cell; once it has written `after`, send SIGINT again and again until it ends."""
        seen = [""]

        def note(piece: Shown) -> None:
            if piece[0] == "stdout":
                seen[0] += piece[1]

        self.start(code)
        shown: list[Shown] = []
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            if after in seen[0]:
                self.interrupt()
            done = self._step("done", shown, note, every_s)
            if done is not None:
                return [*joined(shown), ("done", done.header["status"])]
        raise TimeoutError(shown)

    def send(self, header: dict[str, Any], body: bytes = b"") -> None:
        for message in protocol.split(header, body):
            self._socket.send(message)

    def send_raw(self, message: bytes) -> None:
        self._socket.send(message)

    def wait_ended(self) -> int:
        return self.process.wait(DEADLINE_S)

    def close(self) -> int:
        """Close the socket, as the host does; return the kernel's exit status."""
        self._socket.close()
        try:
            status = self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            status = None
        self.kill()
        if status is None:
            raise KernelDied("It did not end when its socket was closed.")
        return status

    def kill(self) -> None:
        self._socket.close()
        self.process.kill()
        self.process.wait()
        for pipe in self._pipes:
            with contextlib.suppress(OSError):
                os.close(pipe)
        self._pipes = {}

    # ---- the host's rules ----------------------------------------------------------------------

    def _until(
        self, op: str, shown: list[Shown], during: Callable[[Shown], None] | None = None
    ) -> protocol.Frame:
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            frame = self._step(op, shown, during, 1.0)
            if frame is not None:
                return frame
        raise TimeoutError(shown)

    def _step(
        self,
        op: str,
        shown: list[Shown],
        during: Callable[[Shown], None] | None,
        timeout_s: float,
    ) -> protocol.Frame | None:
        """Wait for something to arrive and take it; return the frame if it is the one wanted."""
        readable, _, _ = select.select([self._socket, *self._pipes], [], [], timeout_s)
        before = len(shown)
        frame = None
        for pipe in [p for p in readable if p is not self._socket]:
            waiting = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]
            frame = frame or self._take_messages(op, shown)
            with contextlib.suppress(BlockingIOError):
                data = os.read(pipe, max(1, waiting))
                if not data:
                    del self._pipes[pipe]
                    os.close(pipe)
                    continue
                self._add_text(shown, self._pipes[pipe], data)
        if self._socket in readable:
            frame = frame or self._take_messages(op, shown)
        if during is not None:
            for piece in shown[before:]:
                during(piece)
        return frame

    def _take_messages(self, op: str, shown: list[Shown]) -> protocol.Frame | None:
        while True:
            try:
                data = self._socket.recv(protocol.MESSAGE_BYTES_MAX + 1, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
            if not data:
                raise KernelDied(shown)
            frame = self._assembler.feed(data)
            if frame is None:
                continue
            if frame.header["op"] == op:
                return frame
            self._add(shown, frame)

    def _add(self, shown: list[Shown], frame: protocol.Frame) -> None:
        header, body = frame.header, frame.body
        assert header["nonce"] == self.nonce, header
        match header["op"]:
            case "logs":
                self._add_text(shown, header["stream"], body)
            case "result":
                shown.append(("result", body.decode()))
            case "display":
                text, parts = protocol.parts_of(frame)
                identity = [header["display_id"], header["is_update"]]
                extra = [] if identity == [None, False] else identity
                shown.append(("display", text.decode(), dict(parts), *extra))
            case "image":
                data, parts = protocol.parts_of(frame)
                shown.append(("image", {**header, "parts": dict(parts)}, data))
            case "clear":
                shown.append(("clear",))
            case "error":
                shown.append(("error", header["name"], header["message"], body.decode()))
            case other:
                raise AssertionError(other)

    def _add_text(self, shown: list[Shown], stream: str, data: bytes) -> None:
        text = self._decoders[stream].decode(data)
        if text:
            shown.append((stream, text))


def joined(shown: list[Shown]) -> list[Shown]:
    """Join neighbouring pieces of text of one stream."""
    result: list[Shown] = []
    for piece in shown:
        if result and piece[0] == result[-1][0] and piece[0] in protocol.STREAMS:
            result[-1] = (piece[0], result[-1][1] + piece[1])
        else:
            result.append(piece)
    return result
