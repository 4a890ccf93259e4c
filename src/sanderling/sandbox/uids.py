"""
Which uids of this machine boxes run as; decided once, when the zygote starts, and never per box.

    range   the host is root: each box gets a uid of its own that belongs to nobody, or, where
            root is a container's only, one that nobody in the container has
    subuid  a plain user with a range in /etc/subuid and /etc/subgid: the same, from that range
    single  a plain user without: boxes have that user's own uid, and namespaces, filter and
            Landlock stand alone between them

A subordinate range is tried, not guessed: newuidmap must accept it, and the host must be able to
read, write and remove the files of such a box through the view that the zygote makes of them
(`wall/views.py`). Where that fails the host starts with a single uid and says why.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from sanderling.errors import MachineUnfit
from sanderling.sandbox import box_files
from sanderling.sandbox.wall import identity
from sanderling.sandbox.wall.identity import Uids

# A box gets a number of its own as long as there are fewer boxes than this.
COUNT_MIN = 1_000
COUNT_MAX = 60_000  # below 65,534, which is what the kernel shows for uids that have no number
_NOBODY = 65_534
SUBUID = Path("/etc/subuid")
SUBGID = Path("/etc/subgid")
_MAP_DEADLINE_S = 10.0
_TOOLS = ("newuidmap", "newgidmap")
# In a container whose uids end before those that belong to nobody: above any that its people have,
# below those that its systemd gives to services.
_CONTAINER_FIRST, _CONTAINER_END = 20_000, 61_184


class Refused(Exception):
    """The range cannot be used here. `args[0]` says why, `remedy` what would change it."""

    def __init__(self, reason: str, remedy: str | None = None) -> None:
        super().__init__(reason)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class BoxUids:
    """
    The uids boxes get. Inside the zygote's namespace a box's uid is its number, from 1 on.

    first: number n is the machine's uid `first` + n, and its gid `gid_first` + n.
    weakness: why there is no range, and `remedy` what would change it; None when there is one.
    """

    kind: Uids
    first: int = 0
    gid_first: int = 0
    count: int = 0
    weakness: str | None = None
    remedy: str | None = None

    def on_machine(self, number: int) -> int | None:
        """The machine's uid of the box with this number; None: our own, as all have it."""
        return None if self.kind == "single" else self.first + number

    def file_owner(self, number: int) -> tuple[int, int] | None:
        """
        Whom files must belong to that the host writes for that box; None: to whoever writes them.

        With a subordinate range the view makes them the box's.
        """
        return (self.first + number, self.gid_first + number) if self.kind == "range" else None


def choose(process: Path = Path("/proc/self")) -> BoxUids:
    """
    The best there is, untried.

    Raises:
        MachineUnfit: this is root, of a container that has no other uids; boxes are never root.
    """
    if os.geteuid() == 0:
        return _of_nobody(process)
    try:
        return _subordinate(os.geteuid())
    except Refused as refused:
        return single(refused)


def single(refused: Refused) -> BoxUids:
    """What remains when the range was refused."""
    return BoxUids("single", weakness=str(refused), remedy=refused.remedy)


def write_maps(uids: BoxUids, pid: int) -> None:
    """
    Give the user namespace that process `pid` has just entered its uids and gids.

    Raises:
        Refused: newuidmap or newgidmap says no.
        OSError: the kernel does.
    """
    if uids.kind == "range":
        for name in ("uid_map", "gid_map"):
            first = uids.first if name == "uid_map" else uids.gid_first
            # And one for who is nobody there too: runsc takes that number for its sandbox.
            nobody = f"{_NOBODY} {first + uids.count + 1} 1"
            Path(f"/proc/{pid}/{name}").write_text(f"0 {first} {uids.count + 1}\n{nobody}")
        return
    # Ourselves as 0, so that the zygote reads what we may read; then the range, from 1 on.
    for tool, own, first in (
        ("newuidmap", os.geteuid(), uids.first + 1),
        ("newgidmap", os.getegid(), uids.gid_first + 1),
    ):
        numbers = (0, own, 1, 1, first, uids.count)
        try:
            done = subprocess.run(
                [tool, str(pid), *map(str, numbers)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_MAP_DEADLINE_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Refused(f"{tool} could not be run: {error}") from error
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip()
            raise Refused(f"{tool} refused the range: {said}")


def try_view(view_fd: int) -> None:
    """Raise Refused unless the files in this folder, which are a box's, are as good as our own."""
    try:
        fd = box_files.openat2(view_fd, "trial", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(fd, b"trial")
            status = os.fstat(fd)
        finally:
            os.close(fd)
        os.unlink("trial", dir_fd=view_fd)
    except OSError as error:
        raise Refused(f"the files of a box cannot be used from outside: {error}") from error
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) != 0o600:
        raise Refused(f"the files of a box seem to belong to {status.st_uid}")


def _of_nobody(process: Path) -> BoxUids:
    """Of the uids that this namespace has, some that belong to nobody."""
    first, end = _unused(process / "uid_map")
    gid_first, gid_end = _unused(process / "gid_map")
    count = min(end - first, gid_end - gid_first) - 2  # root and nobody of the zygote's namespace
    if count < COUNT_MIN:
        raise MachineUnfit(
            f"Boxes never run as root, and root of this container has no uids from "
            f"{_CONTAINER_FIRST} on to give them. Start the container with a range of uids, as "
            "rootless Docker and Podman do for a user with one in /etc/subuid, or not as its root."
        )
    return BoxUids("range", first, gid_first, min(count, COUNT_MAX))


def _unused(id_map: Path) -> tuple[int, int]:
    """Return (first, end) of numbers that boxes may have. Format: user_namespaces(7)."""
    runs = []
    for line in id_map.read_text().splitlines():
        inside, _, count = map(int, line.split())
        runs.append((inside, inside + count))
    wanted = (identity.HOST_UID_FIRST, identity.HOST_UID_FIRST + identity.UID_COUNT)
    if any(first <= wanted[0] and wanted[1] <= end for first, end in runs):
        return wanted
    shares = [(max(first, _CONTAINER_FIRST), min(end, _CONTAINER_END)) for first, end in runs]
    return max(shares, key=lambda share: share[1] - share[0])


def _subordinate(uid: int) -> BoxUids:
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        raise Refused(f"newuidmap serves users with a name, and uid {uid} has none") from None
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        reason = f"{' and '.join(missing)} not found"
        raise Refused(reason, "sudo apt install uidmap (Fedora: shadow-utils-subid)")
    first, count = _range(SUBUID, name, uid)
    gid_first, gid_count = _range(SUBGID, name, uid)
    count = min(count, gid_count, COUNT_MAX)
    if count < COUNT_MIN:
        raise Refused(f"{SUBUID} and {SUBGID} give {name} only {count} uids", _remedy(name))
    return BoxUids("subuid", first - 1, gid_first - 1, count)


def _range(path: Path, name: str, uid: int) -> tuple[int, int]:
    """Return (first, count) of the longest range of a user. Format: subuid(5)."""
    found: list[tuple[int, int]] = []
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        owner, _, numbers = line.partition(":")
        first, _, count = numbers.partition(":")
        if owner in (name, str(uid)) and first.isdecimal() and count.isdecimal():
            found.append((int(first), int(count)))
    if not found:
        raise Refused(f"{path} has no range for {name}", _remedy(name))
    return max(found, key=lambda entry: entry[1])


def _remedy(name: str) -> str:
    numbers = "200000-265535"
    return f"sudo usermod --add-subuids {numbers} --add-subgids {numbers} {name}"
