"""
Look at a gVisor box from outside before it may run anything: is it behind its walls?

The box has said that it is ready; this asks the kernel of the machine instead, as `verify.py` does
for forked boxes. What counts here is what the machine's kernel sees: runsc's sandbox, in which all
of the box's code runs, its gofer, and the processes the platform lends to the box's own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from sanderling.errors import SpawnFailed

_SANDBOX, _GOFER = "runsc-sandbox", "runsc-gofer"
# The init of the box, and the command that has restored it, which may not have ended yet: neither
# runs anything of the box's, and gVisor gives a filter to those only that do.
_UNFILTERED = ("init", "runsc")
_NAMESPACES = ("ipc", "mnt", "net", "pid", "user", "uts")
_SECCOMP_FILTER = "2"


def check_box(pid: int) -> None:
    """
    Raise SpawnFailed unless below process `pid` there are a sandbox and a gofer, each with a filter
    on its system calls, and nothing has the machine's root or one of the host's namespaces.

    Raises:
        SpawnFailed: says which part of the wall is missing.
    """
    faults: list[str] = []
    kinds: list[str] = []
    try:
        own = {name: os.readlink(f"/proc/self/ns/{name}") for name in _NAMESPACES}
        faults += [f"init: {fault}" for fault in _faults(pid, "init", own)]
        for process in _descendants(pid):
            # The platform's processes come and go; the two that must be there are counted below.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                kind = _kind(process)
                faults += [f"{kind}: {fault}" for fault in _faults(process, kind, own)]
                kinds.append(kind)
    except OSError as error:
        raise SpawnFailed(f"The new box cannot be inspected: {error}") from error
    faults += [f"no {kind}" for kind in (_SANDBOX, _GOFER) if kind not in kinds]
    if faults:
        raise SpawnFailed(f"The new box is not sealed: {'; '.join(faults)}.")


def _faults(pid: int, kind: str, own: dict[str, str]) -> Iterator[str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "0" in status["Uid"].split():
        yield "its uid is 0"
    if kind not in _UNFILTERED and status["Seccomp"] != _SECCOMP_FILTER:
        yield "no seccomp filter is in force"
    for name in _NAMESPACES:
        if os.readlink(f"/proc/{pid}/ns/{name}") == own[name]:
            yield f"the {name} namespace is the host's"


def _descendants(pid: int) -> Iterator[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                yield int(child)
                yield from _descendants(int(child))


def _kind(pid: int) -> str:
    line = Path(f"/proc/{pid}/cmdline").read_bytes()
    name = os.path.basename(os.fsdecode(line.partition(b"\0")[0]))
    return name if name in (_SANDBOX, _GOFER, "runsc") else "a process of its platform"
