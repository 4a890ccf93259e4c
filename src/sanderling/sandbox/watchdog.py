"""
Watches what the processes of a box have of memory together, while a cell runs.

RLIMIT_DATA holds each process to the tier and answers with MemoryError; it knows nothing of others
and nothing of shared memory. A control group is hard but holds the tier plus the disk quota, since
files are in memory too; where there is none, nothing holds several processes. So somebody looks
every tenth of a second, and a box whose processes have more than the tier is killed. What it can
take between two looks is the softness of this limit.

Without a control group only what is mapped or open can be counted. Code that sets out to hide
memory can: files of memory on their way through a socket, shared memory of which little is still
mapped, and as much of shared memory as it has files.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

from sanderling.sandbox.group import Group
from sanderling.sandbox.processes import Processes

LOOK_EVERY_S = 0.1
# Beyond the tier: what a kernel shares with its zygote and makes its own by writing to it, and what
# one process is granted past the tier so that it can still report a MemoryError.
SLACK_BYTES = 256 << 20
# Looking at many processes takes long. It must not take more than this part of the host's time.
_REST_FOR_LOOK = 20


class Watchdog:
    """The watch over one cell. Its methods belong to one event loop; `disarm` must be called."""

    def __init__(
        self, exceeds: Callable[[int], bool], bite: Callable[[], None], limit: int
    ) -> None:
        """
        exceeds: whether the box has more than so many bytes.
        bite: called once, when it has more than `limit` and the slack.
        """
        self.has_bitten = False
        self._exceeds = exceeds
        self._bite = bite
        self._limit = limit + SLACK_BYTES
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(LOOK_EVERY_S, self._look)

    def disarm(self) -> None:
        """The cell is over."""
        self._timer.cancel()

    def _look(self) -> None:
        began = time.perf_counter()
        try:
            self.has_bitten = self._exceeds(self._limit)
        except OSError:
            return  # the box has just died
        if self.has_bitten:
            self._bite()
            return
        took = time.perf_counter() - began
        self._timer = self._loop.call_later(max(LOOK_EVERY_S, _REST_FOR_LOOK * took), self._look)


def exceeds(limit: int, group: Group | None, processes: Processes, data_fd: int) -> bool:
    """
    Return whether processes have more than `limit` bytes of memory together, files not counted.

    A quick look tells nearly always that they do not; only else are shares and files told apart.

    Raises:
        OSError: the group is gone.
    """
    if group is not None and group.has("memory"):
        if group.memory_bytes() <= limit:
            return False
        own, shared = group.process_bytes()
        unnamed = sockets = 0  # what the kernel holds for the box it counts itself
    else:
        unnamed, sockets = processes.held_bytes()
        if processes.resident_bytes() + unnamed + sockets <= limit:
            return False
        own, shared = processes.proportional_bytes()
    disk = os.fstatvfs(data_fd)
    files = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
    return own + sockets + max(shared - files, unnamed, 0) > limit
