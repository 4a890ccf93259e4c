"""
Memory in two ways: private pages of processes, and what a control group is charged.

The group's charge holds what private pages leave out: page tables, namespaces, sockets, files in
memory. A driver lives in a group of its own, and its sessions' groups below or beside it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path


def descendants(pid: int) -> set[int]:
    """Every process below `pid`."""
    found: set[int] = set()
    todo = [pid]
    while todo:
        parent = todo.pop()
        for task in Path(f"/proc/{parent}/task").glob("*"):
            try:
                children = (task / "children").read_text().split()
            except OSError:  # ended meanwhile
                continue
            todo += map(int, children)
            found |= set(map(int, children))
    return found


def private_mib(pid: int) -> float:
    """The unique set size of a process."""
    kib = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(("Private_Clean:", "Private_Dirty:")):
            kib += int(line.split()[1])
    return kib / 1024


def make_group() -> Path | None:
    """Make a memory control group below our own; None where that cannot be."""
    folder = _group_of("self")
    if folder is None:
        return None
    group = folder / f"sanderling-bench-{secrets.token_hex(4)}"
    try:
        group.mkdir()
        if not (_usage(group)).exists():  # v2 without the controller
            group.rmdir()
            return None
    except OSError:
        return None
    return group


def remove_group(group: Path) -> None:
    """Remove the group, and what a driver that was killed has left in it."""
    for folder in (*sorted(group.rglob("*/"), reverse=True), group):
        with contextlib.suppress(OSError):  # somebody is just leaving it
            folder.rmdir()


def groups_of(own: Path, pids: Iterable[int]) -> list[Path]:
    """`own`, and the folders outside it that hold the groups of these processes."""
    found = {group for pid in pids if (group := _group_of(str(pid))) is not None}
    return [own, *sorted({group.parent for group in found if not group.is_relative_to(own)})]


def charge_mib(groups: Iterable[Path]) -> float:
    """What the groups are charged, without the page cache of files on disk."""
    total = 0
    for group in groups:
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        if "total_cache" in stat:  # v1; there the other keys leave out the groups below
            cached = int(stat["total_cache"]) - int(stat["total_shmem"])
        else:
            cached = int(stat["file"]) - int(stat["shmem"])
        total += int(_usage(group).read_text()) - cached
    return total / (1 << 20)


def _usage(group: Path) -> Path:
    current = group / "memory.current"
    return current if current.exists() else group / "memory.usage_in_bytes"


def _group_of(pid: str) -> Path | None:
    """The folder of a process's memory group."""
    roots = {"memory": Path("/sys/fs/cgroup/memory"), "": Path("/sys/fs/cgroup")}
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return None
    paths = {c: path for _, cs, path in (line.split(":", 2) for line in lines)
             for c in cs.split(",")}  # fmt: skip
    for controller, root in roots.items():
        if controller in paths and (root / "cgroup.procs").exists():
            return root / paths[controller].lstrip("/")
    return None


def join(group: Path) -> None:
    """Move this process into the group."""
    (group / "cgroup.procs").write_text(str(os.getpid()))
