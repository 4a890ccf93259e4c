"""
Processors where no control group shares them out: politeness, which code in a box can undo in part.

A box's processes are niced, so that the server and the host go first, and run on as many processors
as they may use. Niceness cannot be taken back without a right that nobody in a box has.
"""

from __future__ import annotations

import contextlib
import math
import os

NICENESS = 5  # against a process of the server's: a quarter of the time


def hold_back(pid: int, cpu_count: float | None) -> None:
    """
    Let process `pid`, and what it will start, go after others, and use `cpu_count` processors.

    Raises:
        OSError: the process is dead, or not ours.
    """
    os.setpriority(os.PRIO_PROCESS, pid, NICENESS)
    # Where every session is a group of its own, only the group's niceness counts beside others.
    with contextlib.suppress(OSError), open(f"/proc/{pid}/autogroup", "w") as file:
        file.write(str(NICENESS))
    usable = sorted(os.sched_getaffinity(0))
    if cpu_count is not None and cpu_count < len(usable):
        count = math.ceil(cpu_count)
        # Others begin elsewhere.
        os.sched_setaffinity(pid, {usable[(pid + i) % len(usable)] for i in range(count)})
