"""
The kernel: the process in a box that keeps the user's variables.

It starts sealed (nothing in here can be undone by it), says `ready`, and then answers one message
after another until the host closes the socket. It trusts the host; the host does not trust it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import resource
import socket
import sys
from typing import Any, NoReturn

from sanderling.kernel import protocol
from sanderling.kernel.capture import Channel, text_stream
from sanderling.kernel.cell import Failure, Session, Status
from sanderling.kernel.display import Display


def serve(socket_fd: int = 3, out_read_fd: int = 4, err_read_fd: int = 5) -> NoReturn:
    """Be a kernel on these descriptors until the host goes away."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=socket_fd)
    kernel = Kernel(Channel(connection, out_read_fd, err_read_fd))
    kernel.serve()


class Kernel:
    """The loop around the cells."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._display = Display(channel)
        self._session = Session(self._display)
        self._streams = text_stream(channel, "stdout"), text_stream(channel, "stderr")
        self._assembler = protocol.Assembler(protocol.FROM_HOST)
        self._exit = os._exit  # bound before a cell can replace it
        self._use_streams()
        channel.interrupts.install()
        reseed()

    def serve(self) -> NoReturn:
        """Answer messages; leave when there are no more."""
        version = ".".join(map(str, sys.version_info[:3]))
        self._channel.say("ready", {"python": version, "pid": os.getpid()})
        while True:
            message = self._channel.receive()
            if not message:
                self._exit(0)
            frame = self._assembler.feed(message)
            if frame is None:
                continue
            match frame.header["op"]:
                case "configure":
                    _limit_memory(frame.header["memory_bytes"])
                    _limit_threads(frame.header["cpu_count"])
                    self._channel.say("configured", {})
                case "execute":
                    self._execute(frame.header, frame.body)

    def _execute(self, header: Any, body: bytes) -> None:
        channel = self._channel
        channel.begin(header["nonce"])
        self._use_streams()
        channel.interrupts.install()
        self._display.hook_matplotlib()
        status: Status = "interrupted"
        # An interrupt may come at any instant until `disarm`, in our own lines too.
        with contextlib.suppress(KeyboardInterrupt):
            channel.interrupts.arm()
            try:
                source = body.decode("utf-8", "surrogatepass")
                status, failure = self._session.run(header["cell"], source)
                if failure is not None:
                    self._tell(failure)
            finally:
                channel.flush_all()
        with contextlib.suppress(KeyboardInterrupt):
            failure = self._show_figures()
            if failure is not None:
                self._tell(failure)
                status = "error" if status == "ok" else status
        channel.interrupts.disarm()
        channel.flush_all()
        channel.show("done", {"status": status})

    def _show_figures(self) -> Failure | None:
        """Show what is still open; a figure that cannot be drawn is the cell's error."""
        try:
            self._display.show_open_figures()
        except Exception as error:  # noqa: BLE001 - user-made artists may raise anything
            name = type(error).__name__
            text = f"A figure could not be drawn. {name}: {error}"
            pyplot = sys.modules.get("matplotlib.pyplot")
            if pyplot is not None:
                pyplot.close("all")
            return Failure(name, str(error), text)
        return None

    def _tell(self, failure: Failure) -> None:
        self._channel.flush_all()
        fields = {
            "name": failure.name[: protocol.NAME_CHARS_MAX],
            "message": failure.message[: protocol.MESSAGE_CHARS_MAX // 8],
        }
        self._channel.show("error", fields, failure.traceback.encode("utf-8", "backslashreplace"))

    def _use_streams(self) -> None:
        """Our streams, whatever the last cell put in their place or did to them."""
        out, err = self._streams
        if out.closed or err.closed:
            self._streams = out, err = (
                text_stream(self._channel, "stdout"),
                text_stream(self._channel, "stderr"),
            )
        sys.stdout, sys.stderr = out, err
        sys.__stdout__, sys.__stderr__ = out, err


def reseed() -> None:
    """Give this fork random numbers of its own; what reseeds itself after a fork is left alone."""
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed(int.from_bytes(os.urandom(4), "little"))
    process = sys.modules.get("multiprocessing.process")
    if process is not None:
        process.current_process().authkey = os.urandom(32)  # type: ignore[attr-defined]


def _limit_memory(memory_bytes: int | None) -> None:
    """MemoryError comes first: what is mapped now, and `memory_bytes` more."""
    if memory_bytes is None:
        return
    with open("/proc/self/status") as file:
        mapped_kib = next(int(line.split()[1]) for line in file if line.startswith("VmData:"))
    limit = mapped_kib * 1024 + memory_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _limit_threads(cpu_count: int | None) -> None:
    """The libraries were loaded with one thread each; let them have the box's share."""
    threadpoolctl = sys.modules.get("threadpoolctl")
    if cpu_count is not None and cpu_count > 1 and threadpoolctl is not None:
        threadpoolctl.threadpool_limits(cpu_count)
    gc.enable()
