"""
What this machine has to give: memory, descriptors, and where the sandbox host may put its socket.

Read from the kernel of the machine each time it is asked; nothing is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import stat
import tempfile
from pathlib import Path

from sanderling.errors import SetupError

# sizeof(sun_path) - 1, unix(7).
SOCKET_PATH_BYTES_MAX = 107
# Of the host: a socket, two pipes, a pidfd, /mnt/data twice, four namespaces, four files of its
# control groups, the listener of its way out; and one connection of somebody who follows its cell.
_DESCRIPTORS_PER_BOX = 16
# What the host needs besides: its own, the pool, boxes on their way, calls, the pipes of what
# earlier cells have left running.
_DESCRIPTORS_KEPT = 384


def memory_bytes(*, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """
    Return how much memory this process and its children could ever use.

    The machine's own, or less where a control group around us (a container, a service) says so.
    """
    total = _memory_total(proc)
    return min([total, *_group_limits(proc, cgroups)])


def memory_left(*, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """
    Return how much memory may still be given to more boxes; none or less: no more boxes.

    What the machine has available, or a control group around us, less a reserve for the server,
    its database and everything else, and for the boxes that stand to grow a little.
    """
    available, total = _memory_available(proc)
    lefts = [available - _reserve(total)]
    for available, limit in _groups_available(proc, cgroups, total):
        lefts.append(available - _reserve(limit))
    return min(lefts)


def _reserve(total: int) -> int:
    """A twentieth, within reason: of a small machine it is 128 MiB, of a large one 1 GiB."""
    return min(max(total // 20, 128 << 20), 1 << 30)


def _memory_available(proc: Path) -> tuple[int, int]:
    values = dict(line.split(":") for line in (proc / "meminfo").read_text().splitlines())
    return _kib(values["MemAvailable"]), _kib(values["MemTotal"])


def _kib(text: str) -> int:
    return int(text.split(maxsplit=1)[0]) * 1024


def boxes_memory_bytes() -> int:
    """Return what all boxes may have together: all memory but what the machine itself needs."""
    total = memory_bytes()
    return max(total - _reserve(total), total // 2)


def boxes_pids(*, proc: Path = Path("/proc")) -> int:
    """Return how many processes and threads all boxes may have together: three in four."""
    most = [int((proc / "sys/kernel" / name).read_text()) for name in ("pid_max", "threads-max")]
    return min(most) * 3 // 4


def cpu_count() -> int:
    """Return how many processors this process may run on."""
    return len(os.sched_getaffinity(0))


def _memory_total(proc: Path) -> int:
    for line in (proc / "meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    raise SetupError("The machine does not say how much memory it has (/proc/meminfo).")


def _groups_available(proc: Path, cgroups: Path, total: int) -> list[tuple[int, int]]:
    """
    Return (available, limit) of every control group around this process with a limit below `total`.

    Version 1 writes no limit as a number larger than any machine, and to ask such a group what it
    uses takes the machine a millisecond: it adds up all groups below.
    """
    found: list[tuple[int, int]] = []
    for folder, limit in _limited_groups(proc, cgroups):
        if limit >= total:
            continue
        with contextlib.suppress(OSError, ValueError, KeyError):
            is_v2 = (folder / "memory.current").exists()
            used = int(_read(folder / ("memory.current" if is_v2 else "memory.usage_in_bytes")))
            stats = dict(line.split() for line in _read(folder / "memory.stat").splitlines())
            # What files were read lately is dropped when somebody needs the room.
            cached = int(stats["inactive_file" if is_v2 else "total_inactive_file"])
            found.append((limit - used + cached, limit))
    return found


def _read(path: Path) -> str:
    return path.read_text()


def _group_limits(proc: Path, cgroups: Path) -> list[int]:
    """Return every memory limit of the control groups around this process."""
    return [limit for _, limit in _limited_groups(proc, cgroups)]


def _limited_groups(proc: Path, cgroups: Path) -> list[tuple[Path, int]]:
    limits: list[tuple[Path, int]] = []
    for line in (proc / "self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            for root in (cgroups, cgroups / "unified"):
                limits += _limits_up_from(root, path, "memory.max")
        elif "memory" in controllers.split(","):
            limits += _limits_up_from(cgroups / "memory", path, "memory.limit_in_bytes")
    return limits


def _limits_up_from(root: Path, path: str, name: str) -> list[tuple[Path, int]]:
    """Read the limit of a group and of all above it; a group we cannot see has none."""
    limits: list[tuple[Path, int]] = []
    folder = root / path.lstrip("/")
    for place in (folder, *folder.parents):
        try:
            text = _read(place / name).strip()
        except OSError:
            text = "max"
        if text.isdigit():
            limits.append((place, int(text)))
        if place == root:
            break
    return limits


def allow_many_descriptors() -> None:
    """
    Take as many as there are: a box takes the host about ten, a connection takes the server one,
    and most systems give a program 1,024 unless it asks for more.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def boxes_max() -> int:
    """Return how many boxes this process has descriptors for; at least one."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, (most - _DESCRIPTORS_KEPT) // _DESCRIPTORS_PER_BOX)


def absolute(path: Path) -> Path:
    """Return `path` from the root, without following links."""
    return Path(os.path.abspath(path))


def socket_path(data: Path) -> Path:
    """
    Return where the host of the data folder `data` listens: in it, or in a private short folder
    when the path would not fit into a socket address. The folder is made, for this user only.

    Raises:
        SetupError: the folder cannot be made, or is somebody else's.
    """
    data = absolute(data)
    path = host_folder(data) / "host.sock"
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
        name = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
        runtime = os.environ.get("XDG_RUNTIME_DIR")
        base = Path(runtime) if runtime else Path(tempfile.gettempdir())
        path = base / f"sanderling-{os.geteuid()}-{name}" / "host.sock"
    _make_private(path.parent)
    return path


def host_folder(data: Path) -> Path:
    """
    Return the folder of the host's lock and log in `data`, made for this user only.

    Raises:
        SetupError: it cannot be made, or is somebody else's.
    """
    folder = absolute(data) / "host"
    _make_private(folder)
    return folder


def _make_private(folder: Path) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise SetupError(f"{folder} is not a folder of this user; remove it.")
        if stat.S_IMODE(status.st_mode) != 0o700:
            folder.chmod(0o700)
    except OSError as error:
        raise SetupError(f"The folder {folder} cannot be made: {error.strerror}.") from error
