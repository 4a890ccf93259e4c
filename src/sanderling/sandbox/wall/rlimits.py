"""
Per-process limits of a box (setrlimit): the fence that holds even where there is no cgroup.

RLIMIT_DATA is not here: the memory tier is known only when a container takes the box, so the
kernel sets it on `configure`, before any code of the user's.
"""

from __future__ import annotations

import resource

from sanderling.kernel.limits import PROCESSES_MAX

# Above what a box's control group allows: the group counts what it refuses, this here does not.
_PROCESSES_ROOM = 16
OPEN_FILES_MAX = 1024  # what Linux gives a login shell
FILE_BYTES_MAX = 8 << 30  # one file; the tmpfs quota is the real bound, this one stops sparse files
PENDING_SIGNALS_MAX = 1024
LOCKED_BYTES_MAX = 64 << 10

LIMITS = {
    "RLIMIT_CORE": 0,
    "RLIMIT_NOFILE": OPEN_FILES_MAX,
    "RLIMIT_NPROC": PROCESSES_MAX + _PROCESSES_ROOM,
    "RLIMIT_FSIZE": FILE_BYTES_MAX,
    "RLIMIT_MEMLOCK": LOCKED_BYTES_MAX,
    "RLIMIT_MSGQUEUE": 0,
    "RLIMIT_NICE": 0,
    "RLIMIT_RTPRIO": 0,
    "RLIMIT_SIGPENDING": PENDING_SIGNALS_MAX,
}


def apply() -> None:
    """
    Set every limit, soft and hard alike; nothing in the box can raise them again.

    Where the machine's own hard limit is lower, that one holds.

    Raises:
        OSError, ValueError: a limit was refused; the box must not be used.
    """
    for name, value in LIMITS.items():
        limit = getattr(resource, name)
        hard = resource.getrlimit(limit)[1]
        # A stricter machine is welcome.
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (allowed, allowed))
