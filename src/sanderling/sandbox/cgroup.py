"""
Control groups: memory, processes, processors and rest of a whole box, where the machine lets us.

Four situations, found once when the host starts and named in `doctor`:

    v1          controllers mounted one by one, and we are root
    v2          the unified hierarchy, and we are root
    delegated   the unified hierarchy, and our own subtree was given to us (systemd Delegate=yes)
    none        nothing we may write to

The one that offers most controllers is used; what it lacks is named too (`missing`). The host has a
folder of its own, which bounds all its boxes together, and in it a group per box (`group.py`). A
box's group is made empty, the kernel process is put in before it has run anything, and its children
stay in it. Limits are set when a container takes the box.

A host holds a lock on its folder for as long as it lives. The next host to start ends what is left
in folders that nobody holds: a v1 freezer keeps even the killed from dying, and with them their
zygote, until somebody thaws them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sanderling.kernel.limits import PROCESSES_MAX
from sanderling.sandbox import machine
from sanderling.sandbox.group import REMOVE_DEADLINE_S, Group, remove_folder, write_if_there

CONTROLLERS = ("memory", "pids", "cpu", "freezer")
# All boxes together against one process of the server, or another service of the machine: half.
CPU_WEIGHT = 50
_CPU_SHARES = 512  # the same for v1
_HOST_PREFIX = "sanderling-host-"
_LEAF = "sanderling-self"  # where a delegated subtree's own processes go
_LEAF_ATTEMPTS = 10  # processes may be born where others are just being moved away

# What is then held by other means, and can be overstepped for a moment or got round.
SOFT = {
    "memory": "the memory of several processes together",
    "cpu": "processors",
    "freezer": "standing still between executions",
}

Kind = Literal["v1", "v2", "delegated", "none"]


@dataclass(frozen=True)
class Hierarchy:
    """A mounted hierarchy: where, and which of its groups is seen there."""

    mount: Path
    root: str = "/"

    def folder(self, membership: str) -> Path:
        """Return where the group `membership` (a line of /proc/self/cgroup) is seen."""
        if self.root != "/" and membership.startswith(self.root):
            membership = membership.removeprefix(self.root)
        return self.mount / membership.lstrip("/")


@dataclass(frozen=True)
class Cgroups:
    """Where this host may make groups. `parents` maps a controller to a folder of ours."""

    kind: Kind
    parents: dict[str, Path]
    _locks: list[int] = field(default_factory=list)

    @property
    def missing(self) -> tuple[str, ...]:
        """The controllers that there are none of."""
        return tuple(c for c in CONTROLLERS if c not in self.parents)

    @property
    def soft_limits(self) -> tuple[str, ...]:
        """What is limited without a group, in words."""
        return tuple(SOFT[c] for c in self.missing if c in SOFT)

    def create(self, name: str, *, pids_max: int = PROCESSES_MAX) -> Group | None:
        """Make the groups of one box, or return None where there are none to make."""
        if self.kind == "none":
            return None
        folders = {controller: parent / name for controller, parent in self.parents.items()}
        for folder in set(folders.values()):
            folder.mkdir()
        group = Group(folders, is_v2=self.kind != "v1")
        group.prepare(pids_max)
        return group

    def end(self) -> None:
        """Kill whatever is inside a box's group, frozen or not. Does not wait."""
        _end(set(self.parents.values()))

    def close(self) -> None:
        """End what is left, and remove our folders with all the groups in them."""
        _remove_all(set(self.parents.values()))
        while self._locks:
            os.close(self._locks.pop())


def find(name: str) -> Cgroups:
    """
    Return the best this process may use, with a folder `name` of its own made in it.

    Never raises: a machine where nothing can be made is a machine of kind `none`.
    """
    v1, v2 = _mounted()
    candidates = list(_candidates(v1, v2, _memberships()))
    _sweep({base for _, bases in candidates for base in bases.values()})
    best = Cgroups("none", {})
    for kind, bases in candidates:
        found = _make(kind, bases, name)
        if len(found.parents) > len(best.parents):
            best, found = found, best
        found.close()
        if not best.missing:
            break
    _bound(best)
    return best


def host_folder() -> str:
    """Return a fresh name for this process's folder; `_sweep` knows it by that."""
    pid = str(os.getpid())
    return f"{_HOST_PREFIX}{pid}-{_started(pid)}-{secrets.token_hex(4)}"


# ---- where -------------------------------------------------------------------------------------


def _candidates(
    v1: dict[str, Hierarchy], v2: Hierarchy | None, memberships: dict[str, str]
) -> Iterator[tuple[Kind, dict[str, Path]]]:
    """Yield kinds, best first, with the folder in which each controller could have ours."""
    if v2 is not None:
        own = v2.folder(memberships.get("", "/"))
        if own.name == _LEAF:  # an earlier host moved us there, out of its way
            own = own.parent
        is_root = os.geteuid() == 0
        places: list[tuple[Kind, Path]] = []
        if own != v2.mount or not is_root:
            places.append(("delegated", own))
        if is_root:
            # The top of all, unless a service was given a place: there its own limits hold.
            places.insert(len(places) if _is_given(own) else 0, ("v2", v2.mount))
        for kind, folder in places:
            yield kind, dict.fromkeys(CONTROLLERS, folder)
    bases = {c: v1[c].folder(memberships.get(c, "/")) for c in CONTROLLERS if c in v1}
    if bases:
        yield "v1", bases


def _is_given(own: Path) -> bool:
    """Whether systemd marked this group as ours to divide (Delegate=yes)."""
    try:
        return os.getxattr(own, "trusted.delegate") == b"1"
    except OSError:
        return False


def _make(kind: Kind, bases: dict[str, Path], name: str) -> Cgroups:
    """Make our folder under each base, and keep those controllers that work in it."""
    parents: dict[str, Path] = {}
    locks: list[int] = []
    for folder in dict.fromkeys(base / name for base in bases.values()):
        with contextlib.suppress(OSError):
            folder.mkdir(exist_ok=True)
            locks.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            fcntl.flock(locks[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
            parents |= {c: folder for c, base in bases.items() if base / name == folder}
    if kind != "v1" and parents:
        enabled = _enable_controllers(next(iter(parents.values())))
        for controller in set(parents) - enabled:
            del parents[controller]
    works = {c: folder for c, folder in parents.items() if _works(kind, c, folder)}
    made = Cgroups(kind, works, locks)
    if works.keys() <= {"freezer"}:
        # Not worth it: the unified hierarchy beside a v1 machine, with no controllers of its own.
        made.close()
        _remove_all({base / name for base in bases.values()})
        return Cgroups("none", {})
    _remove_all({base / name for base in bases.values()} - set(works.values()))
    return made


def _works(kind: Kind, controller: str, parent: Path) -> bool:
    """Try a controller out: what does not work now must not fail later."""
    folder = parent / "try-out"
    group = Group({controller: folder}, is_v2=kind != "v1")
    try:
        folder.mkdir()
        try:
            group.prepare()
            group.limit(memory_bytes=1 << 30, cpu_count=1.0)
            group.counts()
            if controller == "freezer":
                group.freeze()
                group.thaw()
        finally:
            group.remove()
    except (OSError, ValueError):
        return False
    return True


def _enable_controllers(folder: Path) -> set[str]:
    """
    Let groups below `folder` have the controllers: every folder above must pass them on. Return
    those that they have; nothing if processes cannot be moved between our groups.

    A v2 group with processes cannot pass controllers on, so a delegated subtree's own processes
    (this host among them) first move into a leaf beside the boxes.
    """
    parent = folder.parent
    if not os.access(parent / "cgroup.procs", os.W_OK):
        return set()
    enabled = {"freezer"} if (folder / "cgroup.freeze").exists() else set()
    for controller in _read(parent / "cgroup.controllers").split():
        if controller not in CONTROLLERS:
            continue
        with contextlib.suppress(OSError):
            _pass_on(parent, folder, controller)
            enabled.add(controller)
    return enabled


def _pass_on(parent: Path, folder: Path, controller: str) -> None:
    for attempt in range(_LEAF_ATTEMPTS):
        try:
            _empty(parent)
            (parent / "cgroup.subtree_control").write_text(f"+{controller}")
            (folder / "cgroup.subtree_control").write_text(f"+{controller}")
        except OSError as error:
            # A process was born in `parent` meanwhile: EBUSY. The processors and the number of
            # processes can be shared out beside processes, among threads; but groups below are of
            # no other use then, which is found out one step later: EOPNOTSUPP.
            is_busy = error.errno in (errno.EBUSY, errno.EOPNOTSUPP)
            if not is_busy or attempt == _LEAF_ATTEMPTS - 1:
                raise
            with contextlib.suppress(OSError):
                (parent / "cgroup.subtree_control").write_text(f"-{controller}")
        else:
            return


def _empty(parent: Path) -> None:
    """Move the processes of a group into a leaf; those of the whole hierarchy's top may stay."""
    if not (parent / "cgroup.type").exists():
        return
    leaf = parent / _LEAF
    for pid in _read(parent / "cgroup.procs").split():
        leaf.mkdir(exist_ok=True)
        with contextlib.suppress(ProcessLookupError):
            (leaf / "cgroup.procs").write_text(pid)


def _bound(cgroups: Cgroups) -> None:
    """
    Bound all boxes together, so that they cannot use up the machine: its memory, its process
    numbers, and the processors that its other services and our own server wait for.
    """
    settings = {
        "memory": {"memory.max": machine.boxes_memory_bytes()},
        "pids": {"pids.max": machine.boxes_pids()},
        "cpu": {"cpu.weight": CPU_WEIGHT},
    }
    if cgroups.kind == "v1":
        settings["memory"] = {"memory.limit_in_bytes": machine.boxes_memory_bytes()}
        settings["cpu"] = {"cpu.shares": _CPU_SHARES}
    for controller, folder in cgroups.parents.items():
        for name, value in settings.get(controller, {}).items():
            write_if_there(folder / name, str(value))


def _mounted() -> tuple[dict[str, Hierarchy], Hierarchy | None]:
    """Return the v1 hierarchies by controller, and that of v2."""
    v1: dict[str, Hierarchy] = {}
    v2: Hierarchy | None = None
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.split()[:3]
        root, where = fields.split()[3:5]
        hierarchy = Hierarchy(Path(where), root)
        if kind == "cgroup2":
            v2 = v2 or hierarchy
        elif kind == "cgroup":
            for controller in options.split(","):
                v1.setdefault(controller, hierarchy)
    return v1, v2


def _memberships() -> dict[str, str]:
    """Return controller → this process's group; the key of v2 is the empty string."""
    result: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            result[controller] = path
    return result


# ---- the end -----------------------------------------------------------------------------------


def _sweep(bases: Iterable[Path]) -> None:
    """End and remove what killed hosts left in their folders."""
    dead: set[Path] = set()
    locks: list[int] = []
    for folder in [f for base in bases for f in base.glob(f"{_HOST_PREFIX}*-*-*")]:
        # A host of another container may have a number that is nobody's here, but it has its lock;
        # one that has just made its folder may have no lock yet, but it has its number.
        with contextlib.suppress(OSError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            locks.append(lock)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            pid, started, _ = folder.name.removeprefix(_HOST_PREFIX).split("-", 2)
            if _started(pid) != started:
                dead.add(folder)
    _remove_all(dead)
    for lock in locks:
        os.close(lock)


def _started(pid: str) -> str:
    """
    When process `pid` began, in ticks since the machine did; empty if there is none.

    A zombie is none: it keeps its number for as long as its parent does not ask after it.
    """
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return fields[19] if fields and fields[0] not in ("Z", "X") else ""


def _remove_all(folders: Iterable[Path]) -> None:
    """Remove folders of hosts, and in them the groups that dead boxes are just leaving."""
    _end(folders)
    deadline = time.monotonic() + REMOVE_DEADLINE_S
    for folder in folders:
        for left in (*folder.glob("*/"), folder):
            with contextlib.suppress(OSError):  # somebody is inside, or not ours to remove
                remove_folder(left, deadline)


def _end(folders: Iterable[Path]) -> None:
    """
    Kill all that is in the boxes' groups below `folders`, then let it run into its death.

    In this order, so that nothing of a frozen box runs once more.
    """
    groups = [group for folder in folders for group in folder.glob("*/")]
    for group in groups:
        for pid in _read(group / "cgroup.procs").split():
            _kill(int(pid), group)
    for group in groups:
        with contextlib.suppress(OSError):
            write_if_there(group / "cgroup.freeze", "0")
            write_if_there(group / "freezer.state", "THAWED")


def _kill(pid: int, group: Path) -> None:
    """Kill a process if it is still in `group`: its number may be another's by now."""
    with contextlib.suppress(OSError):
        pidfd = os.pidfd_open(pid)
        try:
            if f"/{group.parent.name}/{group.name}\n" in _read(Path(f"/proc/{pid}/cgroup")):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        finally:
            os.close(pidfd)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
