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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from sanderling.kernel import (
    fonts,
    installers,
    limits,
    network,
    prompts,
    protocol,
    sentences,
    spawning,
    warned,
)
from sanderling.kernel.border import Border
from sanderling.kernel.capture import Streams
from sanderling.kernel.cell import Session, forget_cells
from sanderling.kernel.channel import Channel
from sanderling.kernel.display import Display
from sanderling.kernel.hints import hint
from sanderling.kernel.orphans import ORPHANS
from sanderling.kernel.tools import Tools
from sanderling.kernel.tracebacks import Report, describe, describe_plainly

DATA_FOLDER = "/mnt/data"
_DESCRIPTIONS = 3  # tries to describe an exception whose description is interrupted

_QUIET_S = 0.02  # a box that is wanted now is told so within a millisecond
_PYTHON = platform.python_version()

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
        Kernel(socket_fd, stdout_read_fd, stderr_read_fd, data_folder).run()
    finally:
        _exit(1)


def reseed() -> None:
    """After a fork: take a new seed for everything that would repeat its parent's choices."""
    random.seed()
    numpy_random: Any = _modules.get("numpy.random")
    if numpy_random is not None:
        # One number of 32 bits: seeding with more takes half a millisecond longer.
        numpy_random.seed(int.from_bytes(os.urandom(4), "little"))
    ssl: Any = _modules.get("ssl")
    if ssl is not None:
        # OpenSSL knows a fork by its number, and every box's is 1, as its zygote's.
        ssl.RAND_add(os.urandom(32), 32.0)
    process: Any = _modules.get("multiprocessing.process")
    if process is not None:
        process.current_process().authkey = os.urandom(32)


class Kernel:
    """
    One kernel, from its first message to its last.

    It may be made, and rehearsed (`rehearsal.py`), in the process that is forked to run it: what is
    behind its three descriptors matters from `run` on.
    """

    def __init__(
        self,
        socket_fd: int = 3,
        stdout_read_fd: int = 4,
        stderr_read_fd: int = 5,
        data_folder: str = DATA_FOLDER,
    ) -> None:
        self.host = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=socket_fd)
        self._border = Border()
        self._channel = Channel(
            self.host, {"stdout": stdout_read_fd, "stderr": stderr_read_fd}, self._border
        )
        self._streams = Streams(self._channel)
        self._display = Display(self._channel, data_folder)
        self._session = Session(self._display.show_result, self._channel)
        self._assembler = protocol.Assembler(protocol.FROM_HOST)
        self._data_folder = data_folder
        self._memory_bytes: int | None = None
        _prepare_interpreter(self._display, data_folder)
        fonts.install()
        Tools(self._display, data_folder).install()
        ORPHANS.watch()
        self._border.remember_builtins()

    def run(self, when_quiet: Callable[[Kernel], None] | None = None) -> NoReturn:
        """
        Answer the host until it closes the socket.

        when_quiet: called if the host has nothing to say for a moment after `ready`: it is making a
            box in advance.
        """
        reseed()
        self.start()
        if when_quiet is not None and self._channel.is_quiet(_QUIET_S):
            when_quiet(self)
        while self.answer():
            pass
        _exit(0)

    def start(self) -> None:
        """Put our streams in place, and say that we are ready."""
        self._streams.install()
        self._channel.send("ready", python=_PYTHON, pid=os.getpid())

    def answer(self) -> bool:
        """Do what the host's next message asks for; False if it has closed the socket."""
        message = self._channel.receive()
        if message:
            self._take(message)
        return bool(message)

    def pretend(self, messages: Sequence[bytes]) -> None:
        """Do what these messages ask for as if they had come, say nothing, and forget it."""
        memory_bytes = self._memory_bytes
        with self._channel.muted(), self._border.without_limit():
            for message in messages:
                self._take(message)
        self._memory_bytes = memory_bytes
        self.forget()

    def _take(self, message: bytes) -> None:
        frame = self._assembler.feed(message)
        if frame is None:
            return
        if frame.header["op"] == "configure":
            self._configure(frame.header)
        elif frame.header["op"] == "pipes":
            self._channel.renew_pipes()
        else:
            self._execute(frame.header, frame.body.decode("utf-8", "surrogatepass"))

    def forget(self) -> None:
        """Be again a kernel that has run no cell."""
        forget_cells()
        self._session = Session(self._display.show_result, self._channel)
        self._border.remember_builtins()

    def _configure(self, header: Mapping[str, Any]) -> None:
        if header["cpu_count"] is not None:
            limits.THREAD_POOLS.limit(header["cpu_count"])
        self._memory_bytes = header["memory_bytes"]
        if header["memory_bytes"] is not None:
            limits.MEMORY.limit(self._border, header["memory_bytes"])
        if header["proxy"] is not None:
            network.use_proxy(header["proxy"])
        self._channel.send("configured")

    def _execute(self, header: Mapping[str, Any], source: str) -> None:
        self._channel.begin(header["nonce"])
        self._display.begin()
        report = self._attempt(lambda: self._session.run(source, header["cell"]))
        if self._channel.is_child:
            self._leave_child(report)
        # What follows belongs to the cell too, and may fail or be interrupted like it.
        if self._streams.are_replaced:
            report = report or self._attempt(self._streams.flush_replacements)
        self._streams.install()
        self._streams.flush_all()
        if self._display.figures.has_open:
            drawing = self._attempt(self._display.figures.show_open)
            report = report or drawing
        status = "ok"
        if report is not None:
            fields = {"name": report.name, "message": report.message}
            self._channel.send("error", report.text.encode(), **fields)
            status = "interrupted" if report.is_interrupt else "error"
        self._streams.flush_all()
        self._streams.note_leftovers(header["cell"])
        self._channel.end(status)
        ORPHANS.bury()

    def _attempt(self, call: Callable[[], None]) -> Report | None:
        """Call user code; return what is to be told of the exception that ended it, if one did."""
        try:
            self._border.cross(call)
        except SystemExit as error:
            return None if _is_peaceful(error) else self._describe(error)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            return self._describe(error)
        return None

    def _describe(self, error: BaseException) -> Report:
        report = self._report(error)
        sentence = sentences.explain(
            error, memory_bytes=self._memory_bytes, data_folder=self._data_folder
        )
        if sentence is None and not report.is_interrupt:
            sentence = self._hint(error)
        return report if sentence is None else replace(report, text=f"{report.text}{sentence}\n")

    def _hint(self, error: BaseException) -> str | None:
        """What helps after `error`. The objects that are looked at are the user's."""
        is_first = self._session.count == 1
        try:
            return self._border.cross(
                lambda: hint(error, data_folder=self._data_folder, is_first_cell=is_first)
            )
        except BaseException:  # noqa: BLE001 - told without it
            return None

    def _report(self, error: BaseException) -> Report:
        for _ in range(_DESCRIPTIONS):
            try:
                return self._border.cross(lambda: describe(error))
            except KeyboardInterrupt:
                continue  # the host repeats its signal; this one was for the cell, not for us
            except BaseException:  # noqa: BLE001 - its own __str__ is user code as well
                break
        return describe_plainly(error)

    def _leave_child(self, report: Report | None) -> NoReturn:
        """A cell that forked has ended in the child as well: only the parent is the kernel."""
        if report is not None:
            sys.stderr.write(report.text)
        self._streams.flush_all()
        _exit(0 if report is None else 1)


def _is_peaceful(leaving: SystemExit) -> bool:
    """Whether this is a script's way to say that it is done. Runs no user code."""
    code = SystemExit.__dict__["code"].__get__(leaving)  # a subclass may have other ideas
    return code is None or (type(code) is int and code == 0)


def _prepare_interpreter(display: Display, data_folder: str) -> None:
    """Make this process look like a fresh interpreter at a prompt, and add what a notebook has."""
    sys.argv = [""]
    sys.orig_argv = [sys.executable]
    sys.path.append("")  # last: a file of the user's called random.py must not replace Python's
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - /dev/null, for good
    os.environ.setdefault("MPLBACKEND", "agg")
    display.install()
    names: Any = builtins
    names.display = display.display
    prompts.install()
    spawning.install(data_folder)
    installers.install()
    warned.install()
    names.exit = names.quit = _exit_cell


def _exit_cell(code: object = None) -> NoReturn:
    """End the cell. Stand in for the builtin, which would close stdin first."""
    raise SystemExit(code)
