"""
The named guest environments of a server: which there are, what each is, who uses one.

Each is a folder `NAME` of one folder, whole or not there (`staging.py`), with its requirements and
the lock they were resolved to beside the packages. A client says a name, never a path, and a name
is looked at before it becomes part of one.

Who runs boxes on an environment holds a shared lock on its stamp, so whoever removes or replaces it
knows that it is in use, also when the user is another process, and also when that was killed. The
locks are those of open files (fcntl(2), F_OFD_SETLK), which can be looked at without being taken:
who only looks keeps nobody out.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sanderling.environments import environment, staging
from sanderling.environments.environment import STAMP_NAME, Environment
from sanderling.errors import SetupError

# The environment that `sanderling setup` built, or that `--env` names.
DEFAULT = "default"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_RESERVED = frozenset({DEFAULT, "none", "auto"})
# `struct flock`: kind, whence, start, length (0: all of the file), process.
_FLOCK = struct.Struct("hhqqi4x")
ADVICE = "Name a folder that you may write with --environments."


# What comes of an attempt to use an environment.
Hold = Literal["held", "busy", "gone"]


@dataclass(frozen=True, slots=True)
class Record:
    """
    How a named environment came to be; kept in its stamp.

    requirements: the text it was resolved from. is_bare: from that alone, without the default
        packages. digest: of all that decides what it holds; the same digest, the same lock.
    preload: the modules to load before boxes are forked, as its maker wrote them; None: the usual.
    bytes: of all its files. built_at: Unix seconds.
    """

    name: str
    requirements: str
    is_bare: bool
    preload: str | None
    digest: str
    built_at: float
    bytes: int


@dataclass(frozen=True, slots=True)
class Named:
    """A named environment; `environment` is None when its Python is gone from the machine."""

    record: Record
    environment: Environment | None


class Catalog:
    """The named environments in one folder."""

    def __init__(self, folder: Path | None) -> None:
        """folder: need not exist; None: there are no named environments."""
        self._folder = None if folder is None else Path(os.path.abspath(folder.expanduser()))

    def path(self, name: str) -> Path:
        """
        Return where the environment `name` is, or would be.

        Raises:
            SetupError: it is not a name.
        """
        check_name(name)
        if self._folder is None:
            raise SetupError("There is no folder for named environments here.")
        return self._folder / name

    def has(self, name: str) -> bool:
        """Whether containers can have the environment `name`: the default one they always can."""
        if name == DEFAULT:
            return True
        return self._folder is not None and is_name(name) and _is_built(self._folder / name)

    def names(self) -> list[str]:
        """Return the names there are, the default one first, then by the alphabet."""
        return [DEFAULT, *(named.record.name for named in self.all())]

    def all(self) -> list[Named]:
        """
        Return the named environments, by the alphabet.

        Raises:
            SetupError: their folder cannot be read.
        """
        if self._folder is None:
            return []
        try:
            found = sorted(name for name in os.listdir(self._folder) if is_name(name))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise SetupError(
                f"The folder of environments {self._folder} cannot be read: {error.strerror}. Name "
                "one that you may read with --environments."
            ) from error
        read = (_read(self._folder / name) for name in found)
        return [named for named in read if named is not None]

    def find(self, name: str) -> Named | None:
        """Return the environment `name`; None if there is none."""
        if self._folder is None or not is_name(name):
            return None
        return _read(self._folder / name)

    def get(self, name: str) -> Named:
        """
        Return the environment `name`.

        Raises:
            SetupError: there is none; names those there are.
        """
        if (named := self.find(name)) is None:
            there = ", ".join(each.record.name for each in self.all())
            more = f"There are: {there}." if there else "There are none yet."
            raise SetupError(
                f"There is no environment {name!r}. {more} "
                "Make one with: sanderling env create NAME -r requirements.txt"
            )
        return named

    def remove(self, name: str, *, is_forced: bool, progress: Callable[[str], None]) -> None:
        """
        Remove the environment `name`, at once or not at all, and what a failed build of it left.

        Raises:
            SetupError: there is none, or boxes use it (and `is_forced` is not said).
        """
        if name == DEFAULT:
            raise SetupError(
                "The default environment is not removed: containers that ask for no other have it. "
                "To build it anew, remove its folder (sanderling env show default) and run "
                "`sanderling setup`."
            )
        self._check_anything(name)
        path = self.path(name)
        with (
            staging.alone(path, progress, advice=ADVICE),
            unused(path, is_forced=is_forced, so="remove"),
        ):
            self._check_anything(name)  # somebody else may have been quicker
            try:
                if self.find(name) is not None:
                    gone = Path(tempfile.mkdtemp(prefix=f".{name}.building-", dir=path.parent))
                    path.rename(gone)  # Onto an empty folder, which rename(2) replaces.
                    shutil.rmtree(gone)
                shutil.rmtree(plan_folder(path), ignore_errors=True)
            except OSError as error:
                raise SetupError(f"{path} cannot be removed: {error.strerror}.") from error

    def _check_anything(self, name: str) -> None:
        """Raise SetupError if of `name` there is neither an environment nor a plan."""
        if not (is_name(name) and os.path.lexists(plan_folder(self.path(name)))):
            self.get(name)

    def is_at_work(self, name: str) -> bool:
        """Whether somebody makes, replaces or removes the environment `name` at this moment."""
        try:
            fd = os.open(staging.lock_file(self.path(name)), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False  # nobody ever did
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def sweep(self) -> None:
        """Remove what killed builds left, of any name; what is being built is left alone."""
        if self._folder is None or not os.path.isdir(self._folder):
            return
        for left in self._folder.glob(".*.building-*"):
            name = left.name[1:].partition(".building-")[0]
            held = staging.lock_file(self._folder / name)
            with contextlib.suppress(OSError), _try_lock(held) as ours:
                if ours:
                    shutil.rmtree(left, ignore_errors=True)


def is_name(name: str) -> bool:
    """Whether this may be the name of an environment that somebody made."""
    return _NAME.fullmatch(name) is not None and name not in _RESERVED


def check_name(name: str) -> None:
    """
    Raises:
        SetupError: it is not a name, or one of ours; says what would be.
    """
    if name in _RESERVED:
        raise SetupError(f"The name {name!r} has a meaning of its own; choose another.")
    if not is_name(name):
        raise SetupError(
            f"{name!r} is not a name for an environment: at most 40 lower-case letters, digits "
            "and hyphens, a letter or digit at both ends, such as geo or text-2."
        )


def plan_folder(path: Path) -> Path:
    """Return where a build of the environment at `path` keeps its lock until it is done."""
    return path.parent / f".{path.name}.plan"


class Use:
    """
    One process's use of an environment: the stamp it opened, locked while boxes stand.

    The lock belongs to the file that was opened, so an environment that was replaced since is
    another one: `is_current` says so.
    """

    def __init__(self, path: Path) -> None:
        """Raises SetupError: there is no environment at `path`."""
        self._stamp = path / STAMP_NAME
        try:
            self._fd = os.open(self._stamp, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise SetupError(f"There is no environment {path.name!r}.") from error

    def is_current(self) -> bool:
        """Whether the environment is the one that was opened, and still there."""
        try:
            now = os.stat(self._stamp)
        except OSError:
            return False
        ours = os.fstat(self._fd)
        return (now.st_dev, now.st_ino) == (ours.st_dev, ours.st_ino)

    def begin(self) -> Hold:
        """
        Keep it from being removed.

        Return "held" if it is; "busy" if somebody removes or replaces it at this moment, which may
        yet come to nothing; "gone" if that was done.
        """
        is_locked = _lock(self._fd, fcntl.F_RDLCK)
        if not self.is_current():
            return "gone"
        return "held" if is_locked else "busy"

    def end(self) -> None:
        """It may be removed."""
        _lock(self._fd, fcntl.F_UNLCK)

    def close(self) -> None:
        """End and forget it."""
        os.close(self._fd)


@contextlib.contextmanager
def unused(path: Path, *, is_forced: bool, so: str) -> Iterator[None]:
    """
    Keep boxes from beginning to use the environment at `path`, while it is removed or replaced.

    Raises:
        SetupError: they use it already; `so` is what somebody wants to do with it.
    """
    with _stamp_of(path) as stamp:
        if stamp is not None and not (_lock(stamp, fcntl.F_WRLCK) or is_forced):
            raise _in_use(path.name, so)
        yield


def check_unused(path: Path, *, so: str) -> None:
    """
    Look whether boxes use the environment at `path`; who begins to meanwhile is not kept from it.

    Raises:
        SetupError: they do; `so` is what somebody wants to do with it.
    """
    with _stamp_of(path) as stamp:
        if stamp is not None and not _could_lock(stamp, fcntl.F_WRLCK):
            raise _in_use(path.name, so)


def _in_use(name: str, so: str) -> SetupError:
    return SetupError(
        f"The environment {name!r} is in use: containers have boxes with it. Delete them or wait "
        f"until they expire, or {so} it with --force; their code then loses its packages."
    )


@contextlib.contextmanager
def _stamp_of(path: Path) -> Iterator[int | None]:
    """
    Open the stamp of the environment at `path`; yield None if there is none.

    Raises:
        SetupError: this user may not write it.
    """
    try:
        fd = os.open(path / STAMP_NAME, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        raise SetupError(f"{path} cannot be changed: {error.strerror}.") from error
    try:
        yield fd
    finally:
        os.close(fd)


def _lock(fd: int, kind: int) -> bool:
    """Lock an open file (F_RDLCK, F_WRLCK) or unlock it; False if a lock of others forbids it."""
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, 0, 0, 0))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def _could_lock(fd: int, kind: int) -> bool:
    """Whether `_lock` would do it."""
    asked = _FLOCK.pack(kind, os.SEEK_SET, 0, 0, 0)
    found: int = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked))[0]
    return found == fcntl.F_UNLCK


@contextlib.contextmanager
def _try_lock(path: Path) -> Iterator[bool]:
    """Hold the lock of the file `path` if nobody else does; yield whether it is held."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)


def _is_built(path: Path) -> bool:
    return os.path.isfile(path / STAMP_NAME)


def _read(path: Path) -> Named | None:
    """Return the named environment at `path`; None if a build of ours did not put one there."""
    record = record_in(path)
    if record is None:
        return None
    found = environment.read(path)
    return Named(record, None if found is None else found[0])


def record_in(path: Path) -> Record | None:
    """Return how the named environment at `path` came to be; None if there is none."""
    try:
        return Record(**{**environment.stamp_in(path)["named"], "name": path.name})
    except (KeyError, TypeError):
        return None
