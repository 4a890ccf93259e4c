"""
Who the code in a box is: uid 1000 without a single capability, and outside the box nobody.

Each box gets a uid of its own, so that even a process that broke out would own nothing on the
machine: as root from a range that belongs to nobody (`HOST_UID_FIRST`), as a plain user from that
user's subordinate range. A plain user without one has only their own uid to give: the namespaces,
the filter and Landlock hold alone. A box's uid is never the machine's uid 0: some files of /proc
are guarded by nothing but that number. `sandbox/uids.py` chooses between the three.
"""

from __future__ import annotations

import os
from typing import Literal

from sanderling.sandbox.wall import linux

Uids = Literal["range", "subuid", "single"]

GUEST_UID = 1000
UID_COUNT = 65536
# Above what systemd hands out to containers (1879048191), below its foreign range (2147352576).
HOST_UID_FIRST = 1_900_000_000


def enter_single_user_namespace(uid: int, gid: int, *, seen_as: int = 0) -> None:
    """Enter a new user namespace that holds only our own `uid` and `gid`, there `seen_as`."""
    linux.unshare(linux.CLONE_NEWUSER)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{seen_as} {uid} 1")
    _write("/proc/self/gid_map", f"{seen_as} {gid} 1")


def become_guest(uid: int, *, has_range: bool) -> None:
    """
    Become `uid` of the zygote's namespace, and 1000 in a user namespace of the box's own.

    The new namespace counts processes for RLIMIT_NPROC, so the limit must be set before.
    Capabilities are still whole in the new namespace afterwards; `give_up_power` ends that.
    """
    if has_range:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        # A change of uid makes /proc/self root's; the maps below are written through it.
        linux.prctl(linux.PR_SET_DUMPABLE, 1)
    linux.unshare(linux.CLONE_NEWUSER)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{GUEST_UID} {uid} 1")
    _write("/proc/self/gid_map", f"{GUEST_UID} {uid} 1")


def give_up_power() -> None:
    """Drop every capability and the way to get any back."""
    linux.drop_capabilities()
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
