"""
Look at a box from outside before it may run anything: is the wall really there?

The box has said that it is ready; this asks the kernel of the machine instead. Everything here is
read from the host's own /proc, so nothing a box could say makes a difference.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from sanderling.errors import SpawnFailed
from sanderling.sandbox.wall import mounts

_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
_NO_CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
_SECCOMP_FILTER = "2"


def check_wall(pid: int, *, uid: int | None) -> None:
    """
    Raise SpawnFailed unless process `pid` is sealed: no capability, no new privileges, a filter,
    namespaces of its own, and the uid it must have (`uid`; None: any but the machine's root).

    Raises:
        SpawnFailed: says which part of the wall is missing.
    """
    try:
        with open(f"/proc/{pid}/status") as file:
            status = _fields(file.read())
        shared = [
            name
            for name in _NAMESPACES
            if os.readlink(f"/proc/{pid}/ns/{name}") == os.readlink(f"/proc/self/ns/{name}")
        ]
    except OSError as error:
        raise SpawnFailed(f"The new box cannot be inspected: {error}") from error
    faults = [f"{name} is {status.get(name)}" for name in _NO_CAPABILITIES if _holds(status, name)]
    faults += [f"the {name} namespace is the host's" for name in shared]
    if status.get("NoNewPrivs") != "1":
        faults.append("NoNewPrivs is not set")
    if status.get("Seccomp") != _SECCOMP_FILTER:
        faults.append("no seccomp filter is in force")
    uids = set(status.get("Uid", "0").split())
    if "0" in uids or (uid is not None and uids != {str(uid)}):
        faults.append(f"its uid is {', '.join(sorted(uids))}")
    if faults:
        raise SpawnFailed(f"The new box is not sealed: {'; '.join(faults)}.")


def check_read_only(pid: int) -> None:
    """
    Raise SpawnFailed unless all that a box can otherwise write to is mounted read-only in it.

    Raises:
        SpawnFailed: says where it could write.
    """
    # The last mount at a place covers those before it. Fields: proc(5), /proc/pid/mountinfo.
    options: dict[str, list[str]] = {}
    try:
        with open(f"/proc/{pid}/mountinfo") as file:
            for line in file:
                fields = line.split()
                options[fields[4]] = fields[5].split(",")
    except OSError as error:
        raise SpawnFailed(f"The new box cannot be inspected: {error}") from error
    faults = [path for path in mounts.WRITABLE if "ro" not in options.get(path, ())]
    if faults:
        raise SpawnFailed(f"The new box is to be read-only, and can write to {', '.join(faults)}.")


def _fields(text: str) -> Mapping[str, str]:
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _holds(status: Mapping[str, str], name: str) -> bool:
    return int(status.get(name, "f"), 16) != 0
