"""
The processes of one box as /proc shows them: for machines whose control groups do not hold them.

A box's kernel is the first process of a namespace, so every other is below it in the tree of
parents. A number may pass to another process between two looks: before a signal is sent, the
process is held by a pidfd and its namespace compared.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal

_STANDING = "TtZX"  # stopped, traced, dead: states of /proc/PID/stat
_WAITING = "D"  # for the child of a vfork, which may be stopped itself
_LOOKED_AT_MAX = 16384  # descriptors of one box in one look, which takes some 50 ms then
_SOCKET_BYTES = 208 << 10  # what waits in one at most (net.core.wmem_default)
_PAGE_TABLES = (
    "VmPTE:"  # a process reads zeros all over its addresses, and is given a table for each
)
_BLOCK_BYTES = 512  # the unit of st_blocks


class Processes:
    """All processes of the box whose kernel is `pid`."""

    def __init__(self, pid: int) -> None:
        self._kernel = pid
        self._namespace = _link(f"/proc/{pid}/ns/pid")
        self._stopped: set[int] = set()

    def all(self) -> list[int]:
        """Return their numbers, the kernel's first; those born meanwhile may be missing."""
        found = [self._kernel]
        for pid in found:
            with contextlib.suppress(OSError):
                for task in os.listdir(f"/proc/{pid}/task"):
                    found += map(int, _read(f"/proc/{pid}/task/{task}/children").split())
        return found

    def has_company(self) -> bool:
        """Whether there is anything beside the kernel's one thread."""
        with contextlib.suppress(OSError):
            tasks = os.listdir(f"/proc/{self._kernel}/task")
            return len(tasks) > 1 or bool(
                _read(f"/proc/{self._kernel}/task/{self._kernel}/children")
            )
        return False

    # ---- standing still ------------------------------------------------------------------------

    def stop(self) -> bool:
        """
        Stop those that do not stand still; return whether all did when they were looked at.

        Ask again until they do: one that was being born as the others were stopped is found by the
        next look, and nobody is left then to give birth to another.
        """
        is_still = True
        for pid in self.all():
            state = _state(pid)
            if state not in _STANDING and not (state == _WAITING and pid in self._stopped):
                is_still = False
                self._signal(pid, signal.SIGSTOP)
                self._stopped.add(pid)
        return is_still

    def resume(self) -> None:
        """Let those go on that `stop` stopped; who stood still before goes on standing still."""
        stopped, self._stopped = self._stopped, set()
        for pid in stopped:
            self._signal(pid, signal.SIGCONT)

    def _signal(self, pid: int, number: signal.Signals) -> None:
        with contextlib.suppress(OSError):
            pidfd = os.pidfd_open(pid)
            try:
                if _link(f"/proc/{pid}/ns/pid") == self._namespace:
                    signal.pidfd_send_signal(pidfd, number)
            finally:
                os.close(pidfd)

    # ---- memory --------------------------------------------------------------------------------

    def resident_bytes(self) -> int:
        """
        Return what they have in memory for themselves and in shared memory, each on its own:
        what two share counts twice. Takes about 0.03 ms a process.
        """
        return sum(
            _kibibytes(f"/proc/{pid}/status", ("RssAnon:", "RssShmem:", _PAGE_TABLES))
            for pid in self.all()
        )

    def proportional_bytes(self) -> tuple[int, int]:
        """
        Return what they have for themselves, and of shared memory and files in memory, each page
        divided among those that have it. Takes some milliseconds a process.
        """
        own = shared = 0
        for pid in self.all():
            own += _kibibytes(f"/proc/{pid}/smaps_rollup", ("Pss_Anon:",))
            own += _kibibytes(f"/proc/{pid}/status", (_PAGE_TABLES,))
            shared += _kibibytes(f"/proc/{pid}/smaps_rollup", ("Pss_Shmem:",))
        return own, shared

    def held_bytes(self) -> tuple[int, int]:
        """
        Return what descriptors hold: files in memory without a name (memfd), and sockets, counted
        with all that may wait in them. Of very many descriptors others are looked at each time.
        """
        files: dict[tuple[int, int], int] = {}
        sockets: set[str] = set()
        looked_at = 0
        pids = self.all()
        random.shuffle(pids)  # else one could hide behind the descriptors of others
        for pid in pids:
            with contextlib.suppress(OSError):
                for fd in os.listdir(f"/proc/{pid}/fd"):
                    looked_at += 1
                    path = f"/proc/{pid}/fd/{fd}"
                    link = _link(path)
                    if link.startswith("socket:"):
                        sockets.add(link)
                    elif link.startswith("/memfd:"):
                        with contextlib.suppress(OSError):
                            status = os.stat(path)
                            place = (status.st_dev, status.st_ino)
                            files[place] = status.st_blocks * _BLOCK_BYTES
            if looked_at > _LOOKED_AT_MAX:
                break
        return sum(files.values()), len(sockets) * _SOCKET_BYTES


def _state(pid: int) -> str:
    _, _, fields = _read(f"/proc/{pid}/stat").rpartition(")")
    return fields.split()[0] if fields else "X"


def _kibibytes(path: str, names: tuple[str, ...]) -> int:
    """Return the sum of these lines of a file of /proc, in bytes."""
    return sum(
        int(line.split()[1]) * 1024 for line in _read(path).splitlines() if line.startswith(names)
    )


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
