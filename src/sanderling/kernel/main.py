"""
A kernel: the Python process in a box that keeps the user's variables and runs cells, one at a time.

    ready → (configure → configured) → execute → … → done → execute → …

Everything here is at the mercy of the code it runs, by design: the wall is around the whole
process. What the kernel owes its user is that ordinary code, however broken, cannot break it by
accident (border.py), and that everything a cell showed arrives in order (channel.py).
"""

from __future__ import annotations

import builtins
import os
import platform
import random
import socket
import sys
from typing import Any, NoReturn

from sanderling.kernel import limits, protocol
from sanderling.kernel.border import Border
from sanderling.kernel.capture import Streams
from sanderling.kernel.cell import Session
from sanderling.kernel.channel import Channel
from sanderling.kernel.display import Display
from sanderling.kernel.tracebacks import Report, describe, describe_plainly

DATA_FOLDER = "/mnt/data"

# Taken now: user code may put others in their place.
_exit, _modules = os._exit, sys.modules


def serve(
    socket_fd: int = 3,
    stdout_read_fd: int = 4,
    stderr_read_fd: int = 5,
    *,
    data_folder: str = DATA_FOLDER,
) -> NoReturn:
    """
    Be a kernel until the host closes the socket, then end the process.

    Call it in the main thread, in the folder where cells are to start, with descriptors 1 and 2
    being the write ends of the pipes whose (non-blocking) read ends are given.

    data_folder: where saved pictures are looked for; anything else but the default is for tests.
    """
    try:
        for fd in (socket_fd, stdout_read_fd, stderr_read_fd):
            os.set_inheritable(fd, False)
        reseed()
        Kernel(socket.socket(fileno=socket_fd), stdout_read_fd, stderr_read_fd, data_folder).run()
    finally:
        _exit(1)


def reseed() -> None:
    """After a fork: take a new seed for everything that would repeat its parent's choices."""
    random.seed()
    numpy_random: Any = _modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed(list(memoryview(os.urandom(32)).cast("I")))
    process: Any = _modules.get("multiprocessing.process")
    if process is not None:
        process.current_process().authkey = os.urandom(32)
    tempfile: Any = _modules.get("tempfile")
    if tempfile is not None:
        tempfile._name_sequence = None


class Kernel:
    """One kernel, from the first message to the last."""

    def __init__(
        self, host: socket.socket, stdout_read_fd: int, stderr_read_fd: int, data_folder: str
    ) -> None:
        _prepare_interpreter()
        self._border = Border()
        pipes = {"stdout": stdout_read_fd, "stderr": stderr_read_fd}
        self._channel = Channel(host, pipes, self._border)  # type: ignore[arg-type]
        self._streams = Streams(self._channel)
        self._display = Display(self._channel, data_folder)
        self._assembler = protocol.Assembler(protocol.FROM_HOST)

    def run(self) -> None:
        """Answer the host until it closes the socket."""
        while data := self._channel.receive():
            frame = self._assembler.feed(data)
            if frame is None:
                continue
        _exit(0)
