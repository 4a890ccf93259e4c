"""
The control groups of one box: what it may use together, what it has used, and standing still.

Which controllers there are is the machine's to say (`cgroup.py`); each works alone, and what a box
has no controller for, others hold as well as they can: the watchdog its memory, signals its rest,
RLIMIT_NPROC its processes. Files that are asked after every cell are kept open.
"""

from __future__ import annotations

import errno
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from sanderling.kernel.limits import PROCESSES_MAX

CPU_PERIOD_US = 100_000
REMOVE_DEADLINE_S = 2.0
_TCP_BYTES_MAX = 64 << 20  # connections of a box lead to itself or to the proxy of the host
_STAT_BYTES_MAX = 8192
_FREEZING, _FROZEN = b"FREEZING\n", b"FROZEN\n"


@dataclass(frozen=True, slots=True)
class Counts:
    """What has happened to a box so far; 0 for ever where no controller counts it."""

    oom_kills: int = 0  # processes that the machine killed for memory
    refused: int = 0  # processes and threads that were not made: there were too many
    throttled: int = 0  # periods in which its processors were used up


@dataclass
class Group:
    """
    The groups of one box: controller → folder. In v2 all have the same folder.

    Who holds it removes it: `remove` after the last process is dead.
    """

    folders: dict[str, Path]
    is_v2: bool
    _memory_bytes: int | None = None
    _is_cpu_limited: bool = False
    _open: dict[str, int] = field(default_factory=dict)

    def has(self, controller: str) -> bool:
        """Whether there is a `memory`, `pids`, `cpu` or `freezer` controller."""
        return controller in self.folders

    def add(self, pid: int) -> None:
        """Move a process in. Raises OSError."""
        for folder in set(self.folders.values()):
            (folder / "cgroup.procs").write_text(str(pid))

    def doors(self) -> list[int]:
        """
        Return descriptors by which a process with one thread can move itself in: it writes "0".

        A process that is moved by another waits for the whole machine to take notice (RCU), 5 to 10
        ms; one that moves itself does not, but only in v1 is there a file for that. None in v2.
        """
        if self.is_v2:
            return []
        return [
            os.open(folder / "tasks", os.O_WRONLY | os.O_CLOEXEC)
            for folder in set(self.folders.values())
        ]

    def holds(self, pid: int) -> bool:
        """Whether a process is inside, as the machine tells it. Raises OSError."""
        name = next(iter(self.folders.values())).name
        inside: set[str] = set()
        with open(f"/proc/{pid}/cgroup") as file:
            for line in file:
                _, controllers, path = line.rstrip("\n").split(":", 2)
                if path.endswith(f"/{name}"):
                    inside.update(controllers.split(","))
        return inside == {""} if self.is_v2 else inside >= self.folders.keys()

    def prepare(self, pids_max: int = PROCESSES_MAX) -> None:
        """Set what is the same for every box. Raises OSError."""
        if folder := self.folders.get("pids"):
            (folder / "pids.max").write_text(str(pids_max))
        if (folder := self.folders.get("memory")) and self.is_v2:
            write_if_there(folder / "memory.oom.group", "1")

    def limit(self, *, memory_bytes: int, cpu_count: float | None) -> None:
        """
        Set the memory and CPU limits, as far as there are controllers. Raises OSError.

        What is set already is not written again: a box in a pool has the usual limits.
        """
        if (folder := self.folders.get("memory")) and memory_bytes != self._memory_bytes:
            _limit_memory(folder, memory_bytes, is_v2=self.is_v2)
            self._memory_bytes = memory_bytes
        is_cpu_limited = cpu_count is not None
        if (folder := self.folders.get("cpu")) and (is_cpu_limited or self._is_cpu_limited):
            self._is_cpu_limited = is_cpu_limited
            quota = None if cpu_count is None else max(1000, int(cpu_count * CPU_PERIOD_US))
            if self.is_v2:
                (folder / "cpu.max").write_text(f"{quota or 'max'} {CPU_PERIOD_US}")
            else:
                (folder / "cpu.cfs_period_us").write_text(str(CPU_PERIOD_US))
                (folder / "cpu.cfs_quota_us").write_text(str(quota or -1))

    # ---- what it has used ----------------------------------------------------------------------

    def counts(self) -> Counts:
        """What has happened so far. Raises OSError."""
        kills = "memory.events" if self.is_v2 else "memory.oom_control"
        return Counts(
            oom_kills=_value_of(b"oom_kill", self._read("memory", kills)),
            refused=_value_of(b"max", self._read("pids", "pids.events")),
            throttled=_value_of(b"nr_throttled", self._look("cpu", "cpu.stat"))
            if self._is_cpu_limited
            else 0,
        )

    def tasks(self) -> int:
        """How many processes and threads are inside, where `pids` is there. Raises OSError."""
        return int(self._read("pids", "pids.current"))

    def memory_bytes(self) -> int:
        """All memory that is charged to the box, where `memory` is there: files and all."""
        name = "memory.current" if self.is_v2 else "memory.usage_in_bytes"
        return int(self._look("memory", name))

    def process_bytes(self) -> tuple[int, int]:
        """Of it: what processes have for themselves, and what is shared memory or a file."""
        text = self._look("memory", "memory.stat")
        return _value_of(b"anon" if self.is_v2 else b"rss", text), _value_of(b"shmem", text)

    def _look(self, controller: str, name: str) -> bytes:
        """Read a file that is seldom asked; empty where there is no such controller."""
        folder = self.folders.get(controller)
        return b"" if folder is None else (folder / name).read_bytes()

    def _read(self, controller: str, name: str) -> bytes:
        """Read a file that is asked after every cell, and keep it open."""
        if controller not in self.folders:
            return b""
        return os.pread(self._file(controller, name), _STAT_BYTES_MAX, 0)

    def _file(self, controller: str, name: str, flags: int = os.O_RDONLY) -> int:
        if (fd := self._open.get(name)) is None:
            fd = self._open[name] = os.open(self.folders[controller] / name, flags | os.O_CLOEXEC)
        return fd

    # ---- standing still ------------------------------------------------------------------------

    def freeze(self) -> None:
        """Begin to stop everything inside, where `freezer` is there. Raises OSError."""
        self._set_frozen(is_frozen=True)

    def thaw(self) -> None:
        """Let everything inside go on. Raises OSError."""
        self._set_frozen(is_frozen=False)

    def is_frozen(self) -> bool:
        """Whether everything inside stands still. Raises OSError."""
        if self.is_v2:
            return _value_of(b"frozen", self._look("freezer", "cgroup.events")) == 1
        state = os.pread(self._file("freezer", "freezer.state", os.O_RDWR), 16, 0)
        if state == _FREEZING:
            # A traced process that stops for its tracer at that very moment is passed over, for
            # good unless it is said again (gVisor's ptrace platform).
            self.freeze()
        return state == _FROZEN

    def _set_frozen(self, *, is_frozen: bool) -> None:
        if self.is_v2:
            state = b"1" if is_frozen else b"0"
            os.pwrite(self._file("freezer", "cgroup.freeze", os.O_RDWR), state, 0)
        else:
            state = b"FROZEN" if is_frozen else b"THAWED"
            os.pwrite(self._file("freezer", "freezer.state", os.O_RDWR), state, 0)

    # ---- the end -------------------------------------------------------------------------------

    def remove(self) -> None:
        """
        Remove the groups; the dead need a moment to leave them, so this tries for a while.

        Raises:
            OSError: a process is still inside after the deadline.
        """
        files, self._open = self._open, {}
        for fd in files.values():
            os.close(fd)
        deadline = time.monotonic() + REMOVE_DEADLINE_S
        for folder in set(self.folders.values()):
            remove_folder(folder, deadline)


def _value_of(key: bytes, text: bytes) -> int:
    """Return the number that follows `key` in a file of such lines; 0 if there is none."""
    for line in text.splitlines():
        found, _, value = line.partition(b" ")
        if found == key:
            return int(value)
    return 0


def _limit_memory(folder: Path, memory_bytes: int, *, is_v2: bool) -> None:
    if is_v2:
        (folder / "memory.max").write_text(str(memory_bytes))
        write_if_there(folder / "memory.swap.max", "0")
    else:
        # Memory and swap together are never less than memory alone, at no moment: which of the two
        # goes first is a question of up or down.
        both = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        is_rise = int((folder / both[0]).read_text()) < memory_bytes
        for name in reversed(both) if is_rise else both:
            write_if_there(folder / name, str(memory_bytes))
        # What TCP sockets hold is counted apart here, and by default not at all.
        tcp_bytes = min(memory_bytes, _TCP_BYTES_MAX)
        write_if_there(folder / "memory.kmem.tcp.limit_in_bytes", str(tcp_bytes))


def remove_folder(folder: Path, deadline: float) -> None:
    """Remove a group; the dead need a moment to leave it. Raises OSError past the deadline."""
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.001)
        else:
            return


def write_if_there(path: Path, text: str) -> None:
    """Write `text` to a file that not every machine has. Raises OSError."""
    if path.exists():
        path.write_text(text)
