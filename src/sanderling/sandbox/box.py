"""
One box: a kernel process behind its wall, seen from the host.

A box runs one cell at a time and turns what arrives on its socket and its two pipes into one
ordered stream of happenings (docs/protocol.md, §3). It trusts none of it: a message that breaks the
protocol kills the box, a flood is read and dropped past the limit, and nothing is kept beyond it.
Between cells there is nothing to hear: a box that talks all the same is listened to only now and
then, so that what it left running in the background cannot keep the host busy.
Who holds a box decides about time (`keeper.py`); the box knows only how to start, signal and end.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import signal
import socket
import sys
import termios
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sanderling.errors import BoxDied, SpawnFailed
from sanderling.kernel import protocol
from sanderling.observe import logs
from sanderling.sandbox import pipes, processors, watchdog
from sanderling.sandbox.base import BoxLimits, Error, Image, Result
from sanderling.sandbox.freezer import Freezer
from sanderling.sandbox.group import Counts, Group
from sanderling.sandbox.processes import Processes
from sanderling.sandbox.shown import Cell, CellEnded, Shown, Stream
from sanderling.sandbox.wall import egress

CONFIGURE_DEADLINE_S = 10.0
TRACEBACK_BYTES_MAX = 4 << 20  # of one error; as JSON six times as long at worst
# What is taken per wake-up, so that one flooding box leaves others their turn.
_BATCH_MAX = 64
_BATCH_S_MAX = 0.001
_MSG_CTRUNC = int(socket.MSG_CTRUNC)  # a plain number: it is looked at for each message
_REST_S = 0.05  # between cells: how long a box that talked is not listened to
_PIPE_READ_MAX = 65536

_NO_BYTES = bytes(4)  # an int of C


@dataclass
class Descriptors:
    """The host's ends of a kernel's socket and pipes."""

    socket: socket.socket
    out: int
    err: int

    def streams(self) -> dict[int, Stream]:
        """The read ends, and what arrives at each."""
        return {self.out: "stdout", self.err: "stderr"}

    def close(self) -> None:
        self.socket.close()
        os.close(self.out)
        os.close(self.err)


@dataclass
class Handles:
    """
    What outlives a kernel: its /mnt/data and the namespaces that hold it (mnt net ipc uts).

    listener: where the code's way out begins (`wall/egress.py`), until a container has the box.
    """

    data: int
    namespaces: list[int]
    listener: int | None = None

    def close(self) -> None:
        self.close_listener()
        for fd in (self.data, *self.namespaces):
            os.close(fd)

    def close_listener(self) -> None:
        listener, self.listener = self.listener, None
        if listener is not None:
            os.close(listener)


class Box:
    """A living box. All methods belong to the event loop that made it."""

    def __init__(
        self,
        box_id: str,
        *,
        pid: int,
        pidfd: int,
        descriptors: Descriptors,
        handles: Handles | None,
        group: Group | None,
        guest_uid: int,
        logs_bytes_max: int,
        disk_bytes: int = 0,
        overhead_bytes: int = 0,
        file_owner: tuple[int, int] | None = None,
        is_read_only: bool = False,
    ) -> None:
        self.id = box_id
        self.is_read_only = is_read_only
        self.pid = pid
        self.guest_uid = guest_uid
        self.file_owner = file_owner
        self._pidfd = pidfd
        self._descriptors = descriptors
        self._handles = handles
        self._group = group
        self._logs_bytes_max = logs_bytes_max
        self._disk_bytes = disk_bytes
        self._overhead_bytes = overhead_bytes  # what its wall itself takes of memory
        self._loop = asyncio.get_running_loop()
        self._dead = asyncio.Event()
        self.limits: BoxLimits | None = None  # that it has
        self._configured: asyncio.Future[None] | None = None
        self._cell: Cell | None = None
        self._cells = 0
        self._is_broken = False
        self._counts = Counts()  # after the last cell
        self._processes = Processes(pid)
        self._freezer = Freezer(group, self._processes, on_defiance=self.kill)
        self._assembler = protocol.Assembler()
        self._is_listening = False
        self._rest: asyncio.TimerHandle | None = None  # while not listening to a living box
        self._pipes: dict[int, Stream] = descriptors.streams()
        self._old_pipes = pipes.OldPipes()
        self._has_leftovers = False  # the last cell left something running
        self._loop.add_reader(pidfd, self._on_death)
        self._listen()

    @property
    def is_dead(self) -> bool:
        return self._dead.is_set()

    @property
    def data_fd(self) -> int:
        """A directory descriptor of /mnt/data; ours until `hand_over` or `release`."""
        assert self._handles is not None
        return self._handles.data

    def take_listener(self) -> int | None:
        """Give away the socket of the way out; it is the caller's then. None: there is none."""
        assert self._handles is not None
        listener, self._handles.listener = self._handles.listener, None
        return listener

    async def configure(self, limits: BoxLimits) -> None:
        """
        Give the box to a container, with its limits; once, before its first cell.

        A way out that nobody took is closed: from then on the box is refused there.

        Raises:
            SpawnFailed: a limit could not be set; the box is dead then.
        """
        self.close_way_out()
        if limits != self.limits:
            await self.prepare(limits)

    def close_way_out(self) -> None:
        """Close the socket of the way out, if nobody took it."""
        if self._handles is not None:
            self._handles.close_listener()

    def may_become(self, limits: BoxLimits) -> bool:
        """Whether it may be given these limits: threads of libraries cannot be taken away."""
        return self.limits is None or self.limits.cpu_count == limits.cpu_count

    async def prepare(self, limits: BoxLimits) -> None:
        """
        Set limits, before anybody has the box. They may be set again, until its first cell.

        Raises:
            SpawnFailed: a limit could not be set; the box is dead then.
        """
        if limits.read_only != self.is_read_only:
            self.kill()
            await self.wait_dead()
            raise SpawnFailed("Whether code can write files is not to be changed in a made box.")
        cpu_count = limits.cpu_count
        header = {
            "op": "configure",
            "memory_bytes": limits.memory_bytes,
            "cpu_count": None if cpu_count is None else max(1, round(cpu_count)),
            "proxy": egress.URL if limits.allowed_domains else None,
        }
        self._configured = self._loop.create_future()
        try:
            if self._group is not None:
                # The box's files live in memory too; they have their own quota, so that a large
                # upload leaves the whole tier to the code.
                total = limits.memory_bytes + self._disk_bytes
                self._group.limit(memory_bytes=total, cpu_count=cpu_count)
            if self._group is None or not self._group.has("cpu"):
                processors.hold_back(self.pid, cpu_count)
            async with asyncio.timeout(CONFIGURE_DEADLINE_S):
                await self._send(header, b"")
                await self._configured
            # Asked once, so that the files it is asked in are open when the first cell ends.
            self._counts = self._count()
            self.has_company()
        except (OSError, TimeoutError, BoxDied) as error:
            self._configured.cancel()  # nobody waits for it any more
            self.kill()
            await self.wait_dead()
            raise SpawnFailed(f"The limits of a new box could not be set: {error}") from error
        self.limits = limits

    async def run_cell(self, code: str) -> AsyncIterator[Shown]:
        """
        Run one cell; yield what it shows as it shows it, then one CellEnded. One at a time.

        Leaving the iteration early does not stop the cell: interrupt or kill it first.
        """
        assert self._cell is None
        if self._has_leftovers:
            await self._renew_pipes()
        self._cells += 1
        self._listen()
        self._drop_waiting_bytes()
        cell = self._cell = Cell(secrets.token_hex(16), self._logs_bytes_max)
        self._assembler.expect(cell.nonce)
        self._old_pipes.begin(cell)
        try:
            header = {"op": "execute", "cell": self._cells, "nonce": cell.nonce}
            self.thaw()
            try:
                await self._send(header, code.encode("utf-8", "surrogatepass"))
            except BoxDied:
                await self.wait_dead()
                cell.end("died")
            while (shown := await cell.next()) is not None:
                yield shown
        finally:
            self._cell = None
            self._old_pipes.end()
            self._assembler.drop_unfinished()
        before, self._counts = self._counts, self._count()
        self._has_leftovers = cell.status != "died" and self.has_company()
        if self._has_leftovers:
            self._stop_listening()  # what they write from now on is for the next cell, marked
        yield CellEnded(
            cell.status,
            is_out_of_memory=self._counts.oom_kills > before.oom_kills,
            dropped_bytes=cell.dropped_bytes,
            is_crowded=self._counts.refused > before.refused,
            is_throttled=self._counts.throttled > before.throttled,
            has_leftovers=self._has_leftovers,
        )

    async def _renew_pipes(self) -> None:
        """
        Give the kernel other pipes: what earlier cells have left running keeps those it has.

        Where there are no more to be had, the next cell shares those of the last.
        """
        if self._old_pipes.is_full():
            return
        try:
            made, theirs = pipes.make()
        except OSError:
            return
        self._stop_listening()
        for fd in self._descriptors.streams().keys() - self._pipes.keys():
            os.close(fd)  # all its writers are gone
        self._old_pipes.add(self._pipes, self._cells)
        self._pipes = made
        self._descriptors.out, self._descriptors.err = made
        try:
            await self._send({"op": "pipes"}, b"", theirs)
        except BoxDied:
            pass  # the cell that is about to be sent finds out
        finally:
            for fd in theirs:
                os.close(fd)

    def _count(self) -> Counts:
        return self._group.counts() if self._group is not None else Counts()

    def interrupt(self) -> None:
        """Send one SIGINT. The kernel ignores it between cells."""
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL the kernel; it is pid 1 of its namespace, so everything in the box dies."""
        self._signal(signal.SIGKILL)
        self._freezer.thaw()  # in a v1 group the frozen cannot die

    def exceeds(self, memory_bytes: int) -> bool:
        """Whether its processes have more memory than that together. Raises OSError: it died."""
        limit = memory_bytes + self._overhead_bytes
        return watchdog.exceeds(limit, self._group, self._processes, self.data_fd)

    # ---- between cells -------------------------------------------------------------------------

    def freeze(self) -> None:
        """
        Begin to stop everything in the box, until the next cell; `is_still` tells when it stands.

        Clocks go on meanwhile. Files can be read and written from outside.
        """
        if not self.is_dead:
            self._freezer.freeze()

    def thaw(self) -> None:
        """Let the box go on; `run_cell` does this itself."""
        self._freezer.thaw()

    @property
    def is_still(self) -> bool:
        """Whether nothing in the box runs any more."""
        return self.is_dead or self._freezer.is_still()

    def has_company(self) -> bool:
        """Whether there are processes or threads in the box beside the kernel's one thread."""
        if self.is_dead:
            return False
        if self._group is not None and self._group.has("pids"):
            return self._group.tasks() > 1
        return self._processes.has_company()

    async def wait_dead(self) -> None:
        """Wait until the kernel is gone."""
        await self._dead.wait()

    def hand_over(self) -> Handles:
        """Give the dead box's files and namespaces to its successor, and release the rest."""
        assert self.is_dead
        handles, self._handles = self._handles, None
        assert handles is not None
        self.release()
        return handles

    def release(self) -> None:
        """After death: close every descriptor and remove the control group."""
        assert self.is_dead
        self._descriptors.close()
        os.close(self._pidfd)
        if self._handles is not None:
            self._handles.close()
            self._handles = None
        if self._group is not None:
            group, self._group = self._group, None
            self._loop.run_in_executor(None, self._remove, group)

    def _remove(self, group: Group) -> None:
        """Remove the group, in a thread: the dead need a moment to leave it."""
        try:
            group.remove()
        except OSError as error:  # the next host to start sweeps it
            logs.warning("box.group_left", box=self.id, reason=error.strerror)

    # ---- what goes out -------------------------------------------------------------------------

    def _signal(self, number: signal.Signals) -> None:
        if not self.is_dead:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    async def _send(self, header: dict[str, Any], body: bytes, fds: Sequence[int] = ()) -> None:
        """Send one value; descriptors beside it, if it is one message. Raises BoxDied."""
        for message in protocol.split(header, body):
            while True:
                if self.is_dead:
                    raise BoxDied
                try:
                    if fds:
                        socket.send_fds(self._descriptors.socket, [message], fds)
                    else:
                        self._descriptors.socket.send(message)
                    break
                except BlockingIOError:
                    await self._until_writable()
                except OSError as error:
                    raise BoxDied from error

    async def _until_writable(self) -> None:
        fd = self._descriptors.socket.fileno()
        writable = asyncio.Event()
        self._loop.add_writer(fd, writable.set)
        waits = [asyncio.ensure_future(e.wait()) for e in (writable, self._dead)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._loop.remove_writer(fd)
            for wait in waits:
                wait.cancel()

    # ---- what arrives --------------------------------------------------------------------------

    def _on_death(self) -> None:
        """The kernel ended: take what it left behind, then tell whoever waits."""
        self._loop.remove_reader(self._pidfd)
        self._freezer.close()
        while self._take_messages() == "more":
            pass
        for fd, stream in self._pipes.items():
            while self._take_bytes(fd, stream, _PIPE_READ_MAX):
                pass
        self._stop_listening()
        self._old_pipes.close()
        self._dead.set()
        if self._configured is not None and not self._configured.done():
            self._configured.set_exception(BoxDied())
        if self._cell is not None:
            self._cell.end("died")

    def _listen(self) -> None:
        """Wait for what the box says, if we do not yet."""
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        if self._is_listening or self.is_dead:
            return
        self._is_listening = True
        if not self._is_broken:
            self._loop.add_reader(self._descriptors.socket.fileno(), self._on_socket)
        for fd, stream in self._pipes.items():
            self._loop.add_reader(fd, self._on_pipe, fd, stream)

    def _stop_listening(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        self._is_listening = False
        for fd in (self._descriptors.socket.fileno(), *self._pipes):
            self._loop.remove_reader(fd)

    def _rest_between_cells(self) -> None:
        """Something was said. If no cell runs, it was nothing to us: listen again later."""
        if self._cell is None and self._cells > 0 and not self.is_dead:
            self._stop_listening()
            self._rest = self._loop.call_later(_REST_S, self._listen)

    def _on_socket(self) -> bool:
        """Take messages; return whether there may be more."""
        state = self._take_messages()
        if state == "closed" and not self.is_dead:
            # The kernel closed its socket, or broke the protocol: it can never be heard again.
            self._is_broken = True
            self._loop.remove_reader(self._descriptors.socket.fileno())
            self.kill()
        self._rest_between_cells()
        return state == "more"

    def _on_pipe(self, fd: int, stream: Stream) -> None:
        """Order rule 2: count the bytes first, then the messages, then at most that many bytes."""
        waiting = _waiting_bytes(fd)
        if waiting == 0:
            with contextlib.suppress(BlockingIOError):
                if os.read(fd, 1) == b"":  # every writer is gone
                    self._loop.remove_reader(fd)
                    del self._pipes[fd]
            self._rest_between_cells()
        elif not self._on_socket():
            self._take_bytes(fd, stream, min(waiting, _PIPE_READ_MAX))

    def _drop_waiting_bytes(self) -> None:
        """What was written before a cell began is not that cell's."""
        for fd, stream in self._pipes.items():
            waiting = _waiting_bytes(fd)
            if waiting:
                self._take_bytes(fd, stream, waiting)

    def _take_bytes(self, fd: int, stream: Stream, count: int) -> bool:
        """Read from a pipe; return whether there was anything."""
        try:
            data = os.read(fd, count)
        except BlockingIOError:
            return False
        if data and self._cell is not None:
            self._cell.add_bytes(stream, data)
        return bool(data)

    def _take_messages(self) -> Literal["empty", "more", "closed"]:
        until = self._loop.time() + _BATCH_S_MAX
        for _ in range(_BATCH_MAX):
            if self._is_broken:  # what follows nonsense is not to be believed either
                return "closed"
            try:
                data, _, flags, _ = self._descriptors.socket.recvmsg(protocol.MESSAGE_BYTES_MAX + 1)
            except BlockingIOError:
                return "empty"
            except OSError:
                return "closed"
            # No room for them was given, so descriptors that came along are closed already; to
            # close what a box has made can take long, and it has no business to send any.
            if not data or flags & _MSG_CTRUNC:
                return "closed"
            try:
                frame = self._assembler.feed(data)
                if frame is not None:
                    self._take(frame)
            except protocol.FrameError:
                self._is_broken = True
            # After the last message of a cell there is seldom another to ask for.
            if (self._cell is not None and self._cell.has_ended) or self._loop.time() > until:
                break
        return "more"

    def _take(self, frame: protocol.Frame) -> None:
        header = frame.header
        if header["op"] == "configured" and self._configured is not None:
            if not self._configured.done():
                self._configured.set_result(None)
            return
        cell = self._cell
        if cell is None or header.get("nonce") != cell.nonce:
            return  # an echo of another cell: never this one's
        match header["op"]:
            case "logs":
                # What the kernel found in a pipe may go on where our own reading of it stopped.
                cell.add_bytes(header["stream"], frame.body)
            case "result":
                cell.add_value(Result(frame.body.decode("utf-8", "replace")), len(frame.body))
            case "display":
                text, parts = protocol.parts_of(frame)
                shown = Result(text.decode("utf-8", "replace"), parts, *_identity(header))
                cell.add_value(shown, len(frame.body))
            case "image":
                data, parts = protocol.parts_of(frame)
                place = header["name"], header["saved_path"]
                image = Image(header["mime"], data, *place, parts, *_identity(header))
                cell.add_value(image, len(frame.body))
            case "clear":
                cell.clear()
            case "error":
                trace = frame.body[:TRACEBACK_BYTES_MAX].decode("utf-8", "replace")
                cell.add_value(Error(header["name"], header["message"], trace), len(frame.body))
            case "done":
                cell.end(header["status"])


def _identity(header: Mapping[str, Any]) -> tuple[str | None, bool]:
    return header["display_id"], header["is_update"]


def _waiting_bytes(fd: int) -> int:
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, _NO_BYTES), sys.byteorder)
