"""
Control groups: memory, processes and CPU of a whole box, where the machine lets us.

Four situations, found once when the host starts and named in `doctor`:

    v1          controllers mounted one by one, and we are root
    v2          the unified hierarchy, and we are root
    delegated   the unified hierarchy, and our own subtree was given to us (systemd Delegate=yes)
    none        nothing we may write to: only the per-process limits hold

A box's group is made empty, the kernel process is put in before it has run anything, and its
children stay in it. Limits are set when a container takes the box.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PIDS_MAX = 512  # processes and threads; above RLIMIT_NPROC, which answers first and more politely
_CPU_PERIOD_US = 100_000
_V1_CONTROLLERS = ("memory", "pids", "cpu")
_REMOVE_DEADLINE_S = 2.0
_HOST_PREFIX = "sanderling-host-"

Kind = Literal["v1", "v2", "delegated", "none"]


@dataclass
class Group:
    """
    The groups of one box: one folder per v1 controller, or a single v2 folder.

    Who holds it removes it: `remove` after the last process is dead.
    """

    folders: dict[str, Path]
    is_v2: bool
    _events_fd: int | None = None  # asked after every cell, so kept open

    def add(self, pid: int) -> None:
        """Move a process in. Raises OSError."""
        for folder in set(self.folders.values()):
            (folder / "cgroup.procs").write_text(str(pid))

    def limit(self, *, memory_bytes: int, cpu_count: float | None) -> None:
        """Set the memory and CPU limits. Raises OSError."""
        memory, cpu = self.folders["memory"], self.folders["cpu"]
        quota = None if cpu_count is None else int(cpu_count * _CPU_PERIOD_US)
        if self.is_v2:
            (memory / "memory.max").write_text(str(memory_bytes))
            _write_if_there(memory / "memory.swap.max", "0")
            (cpu / "cpu.max").write_text(f"{quota or 'max'} {_CPU_PERIOD_US}")
            return
        (memory / "memory.limit_in_bytes").write_text(str(memory_bytes))
        _write_if_there(memory / "memory.memsw.limit_in_bytes", str(memory_bytes))
        (cpu / "cpu.cfs_period_us").write_text(str(_CPU_PERIOD_US))
        (cpu / "cpu.cfs_quota_us").write_text(str(quota or -1))

    def oom_kills(self) -> int:
        """How many processes of the box the machine has killed for memory so far."""
        if self._events_fd is None:
            name = "memory.events" if self.is_v2 else "memory.oom_control"
            self._events_fd = os.open(self.folders["memory"] / name, os.O_RDONLY | os.O_CLOEXEC)
        for line in os.pread(self._events_fd, 4096, 0).splitlines():
            key, _, value = line.partition(b" ")
            if key == b"oom_kill":
                return int(value)
        return 0

    def remove(self) -> None:
        """
        Remove the groups; the dead need a moment to leave them, so this tries for a while.

        Raises:
            OSError: a process is still inside after the deadline.
        """
        if self._events_fd is not None:
            os.close(self._events_fd)
            self._events_fd = None
        deadline = time.monotonic() + _REMOVE_DEADLINE_S
        for folder in set(self.folders.values()):
            _remove(folder, deadline)


@dataclass(frozen=True)
class Cgroups:
    """Where this host may make groups. `parents` maps a controller to a folder of ours."""

    kind: Kind
    parents: dict[str, Path]

    def create(self, name: str) -> Group | None:
        """Make the groups of one box, or return None where there are none to make."""
        if self.kind == "none":
            return None
        folders = {controller: parent / name for controller, parent in self.parents.items()}
        for folder in set(folders.values()):
            folder.mkdir()
        for folder in set(folders.values()):
            _write_if_there(folder / "pids.max", str(PIDS_MAX))
            _write_if_there(folder / "memory.oom.group", "1")
        return Group(folders, is_v2=self.kind != "v1")

    def close(self) -> None:
        """Remove our folders, and in them the groups that the last boxes are just leaving."""
        deadline = time.monotonic() + _REMOVE_DEADLINE_S
        for folder in set(self.parents.values()):
            for left in (*folder.glob("*/"), folder):
                with contextlib.suppress(OSError):  # somebody is inside, or not ours to remove
                    _remove(left, deadline)


def find(name: str) -> Cgroups:
    """
    Return the best this process may use, with a folder `name` of its own made in it.

    Never raises: a machine where nothing can be made is a machine of kind `none`.
    """
    v1, v2 = _mounted()
    memberships = _memberships()
    _sweep(v1, v2, memberships)
    for kind, parents in _candidates(name, v1, v2, memberships):
        made: list[Path] = []
        try:
            for folder in dict.fromkeys(parents.values()):
                folder.mkdir(exist_ok=True)
                made.append(folder)
            if kind != "v1":
                _enable_controllers(next(iter(parents.values())))
            _try_out(Cgroups(kind, parents))
        except OSError:
            Cgroups(kind, {str(i): folder for i, folder in enumerate(made)}).close()
            continue
        return Cgroups(kind, parents)
    return Cgroups("none", {})


def host_folder() -> str:
    """Return a fresh name for this process's groups; `_sweep` knows by it when we are gone."""
    return f"{_HOST_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"


def _sweep(v1: dict[str, Path], v2: Path | None, memberships: dict[str, str]) -> None:
    """Remove the groups of hosts that were killed: their boxes died with them."""
    parents = {folder.parent for _, made in _candidates("_", v1, v2, memberships)
               for folder in made.values()}  # fmt: skip
    for folder in [f for parent in parents for f in parent.glob(f"{_HOST_PREFIX}*-*")]:
        pid = folder.name.removeprefix(_HOST_PREFIX).partition("-")[0]
        if not pid.isdigit() or os.path.exists(f"/proc/{pid}"):
            continue
        for left in (*folder.glob("*/"), folder):
            with contextlib.suppress(OSError):  # somebody is inside after all
                left.rmdir()


def _candidates(
    name: str, v1: dict[str, Path], v2: Path | None, memberships: dict[str, str]
) -> Iterator[tuple[Kind, dict[str, Path]]]:
    if v2 is not None:
        available = _read(v2 / "cgroup.controllers").split()
        if set(_V1_CONTROLLERS) <= set(available):
            own = v2 / memberships.get("", "/").lstrip("/")
            if os.geteuid() == 0:
                yield "v2", dict.fromkeys(_V1_CONTROLLERS, v2 / name)
            yield "delegated", dict.fromkeys(_V1_CONTROLLERS, own / name)
    if all(controller in v1 for controller in _V1_CONTROLLERS):
        yield (
            "v1",
            {c: v1[c] / memberships.get(c, "/").lstrip("/") / name for c in _V1_CONTROLLERS},
        )


def _enable_controllers(folder: Path) -> None:
    """
    Let groups below `folder` have the controllers: every folder above must pass them on.

    A v2 group with processes cannot pass controllers on, so a delegated subtree's own processes
    (this host) first move into a leaf beside the boxes.
    """
    parent = folder.parent
    wanted = " ".join(f"+{c}" for c in _V1_CONTROLLERS)
    try:
        (parent / "cgroup.subtree_control").write_text(wanted)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        leaf = parent / "sanderling-self"
        leaf.mkdir(exist_ok=True)
        for pid in _read(parent / "cgroup.procs").split():
            (leaf / "cgroup.procs").write_text(pid)
        (parent / "cgroup.subtree_control").write_text(wanted)
    (folder / "cgroup.subtree_control").write_text(wanted)


def _try_out(cgroups: Cgroups) -> None:
    """Make a group, set every limit, remove it: what does not work now must not fail later."""
    group = cgroups.create("try-out")
    assert group is not None
    try:
        group.limit(memory_bytes=1 << 30, cpu_count=1.0)
    finally:
        group.remove()


def _mounted() -> tuple[dict[str, Path], Path | None]:
    """Return where v1 controllers are mounted, and where v2 is."""
    v1: dict[str, Path] = {}
    v2: Path | None = None
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.split()[:3]
        where = Path(fields.split()[4])
        if kind == "cgroup2":
            v2 = where
        elif kind == "cgroup":
            for controller in options.split(","):
                v1.setdefault(controller, where)
    return v1, v2


def _memberships() -> dict[str, str]:
    """Return controller → this process's group; the key of v2 is the empty string."""
    result: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            result[controller] = path
    return result


def _remove(folder: Path, deadline: float) -> None:
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


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _write_if_there(path: Path, text: str) -> None:
    if path.exists():
        path.write_text(text)
