"""
Files of a box, read and written by the host without trusting what the guest put there.

The guest owns every name below /mnt/data and may change any of them at any moment, also while we
look. So nothing is ever opened by a path of the machine: every open is openat2(2) relative to a
descriptor of /mnt/data that forbids leaving it, links of both kinds and other mounts, does not
wait for anybody (O_NONBLOCK: a FIFO, a lease), and is kept only if what was opened is a regular
file. What was opened stays what it is, whatever happens to its name. Sizes are those at the open,
and no more than that is read. What stands there as a whole is looked at by `snapshots.py`.

Files are made with the guest's own credentials (setfsuid), so that they belong to it and its quota
and permissions hold; a filesystem of the guest's user namespace refuses any other owner anyway.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import stat
import struct
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from sanderling.errors import InvalidRequest, NotFound, TooLarge

DATA = "/mnt/data"
PATH_BYTES_MAX = 4096  # PATH_MAX
NAME_BYTES_MAX = 255  # NAME_MAX
DEPTH_MAX = 16  # folders below /mnt/data that are looked into

# Bidirectional controls make a name read as another; line separators break logs and lists.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Files being written, with sixteen hexadecimal digits after it; a walk passes them over.
PART_PREFIX = ".sanderling-part-"

_NR_OPENAT2 = 437
_RESOLVE = 0x01 | 0x02 | 0x04 | 0x08  # NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH
_OPEN_ALWAYS = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
FOLDER = os.O_RDONLY | os.O_DIRECTORY
_RETRIES = 8  # openat2 answers EAGAIN when a rename raced with it

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def openat2(folder_fd: int, path: str, flags: int, mode: int = 0) -> int:
    """
    Open `path` beneath `folder_fd`, following no link and crossing no mount. Never blocks.

    Raises:
        OSError: ELOOP for a link, EXDEV for a way out, and what open(2) says.
    """
    how = struct.pack("QQQ", flags | _OPEN_ALWAYS, mode, _RESOLVE)
    for _ in range(_RETRIES):
        fd: int = _libc.syscall(
            ctypes.c_long(_NR_OPENAT2),
            ctypes.c_int(folder_fd),
            ctypes.c_char_p(path.encode()),
            ctypes.c_char_p(how),
            ctypes.c_size_t(len(how)),
        )
        if fd >= 0:
            return fd
        if ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
            break
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))


def try_out() -> None:
    """Raise OSError where this machine does not know, or does not let us make, the call above."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(openat2(root, ".", os.O_RDONLY | os.O_DIRECTORY))
    finally:
        os.close(root)


def is_clean_character(character: str) -> bool:
    """Whether a name with this character can be shown, logged and downloaded as it is."""
    return character not in _BIDI and unicodedata.category(character) not in _FORBIDDEN_CATEGORIES


def is_clean_name(name: str) -> bool:
    """Whether a single name can be shown, logged and downloaded as it is."""
    if name in ("", ".", "..") or "/" in name:
        return False
    if name.isascii() and name.isprintable():
        return len(name) <= NAME_BYTES_MAX
    return all(map(is_clean_character, name)) and len(name.encode()) <= NAME_BYTES_MAX


def parts_below_data(path: str) -> list[str]:
    """
    Return the names of `path` below /mnt/data.

    Raises:
        InvalidRequest: not an absolute path below /mnt/data, or a name that is not clean.
    """
    below = path.removeprefix(DATA + "/")
    names = below.split("/")
    if below == path or not all(is_clean_name(name) for name in names):
        raise InvalidRequest(f"{path!r} is not a clean path below {DATA}.", param="path")
    if len(names) > DEPTH_MAX or len(path.encode()) > PATH_BYTES_MAX:
        raise InvalidRequest(f"A path below {DATA} is too long or too deep.", param="path")
    return names


# ---- what is there -----------------------------------------------------------------------------

Identity = tuple[int, int, int, int]  # inode, bytes, mtime_ns, ctime_ns


def identity_of(status: os.stat_result) -> Identity:
    """What changes when a file's content does. The guest cannot set a ctime."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@dataclass(frozen=True, slots=True)
class Room:
    """What there is for files in a box, and whether nothing is left of it."""

    disk_bytes: int
    files: int
    is_full: bool


def room(data_fd: int) -> Room:
    """Return what `data_fd` and the box's other writable folders have together."""
    status = os.fstatvfs(data_fd)
    return Room(
        disk_bytes=status.f_blocks * status.f_frsize,
        files=status.f_files,
        is_full=status.f_bavail == 0 or (status.f_favail == 0 and status.f_files > 0),
    )


# ---- reading and writing -----------------------------------------------------------------------


@dataclass(slots=True)
class OpenFile:
    """A regular file open for reading: `size` is what it had at the open, and all that is read."""

    fd: int
    size: int

    def read(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes at `offset`, none past the size at the open."""
        return os.pread(self.fd, max(0, min(count, self.size - offset)), offset)

    def close(self) -> None:
        os.close(self.fd)


def open_to_read(data_fd: int, path: str) -> OpenFile:
    """
    Open the regular file at `path` (absolute, below /mnt/data).

    Raises:
        NotFound: there is none, it is something else, or its owner closed it to everybody.
    """
    try:
        names = parts_below_data(path)
        fd = openat2(data_fd, "/".join(names), os.O_RDONLY)
    except (InvalidRequest, OSError) as error:
        raise NotFound(f"There is no file {path!r} in the container.") from error
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        raise NotFound(f"{path!r} is not a regular file.")
    return OpenFile(fd, status.st_size)


class PartFile:
    """A file being written under a name nobody asked for; `finish` gives it its own."""

    def __init__(self, data_fd: int, path: str, owner: tuple[int, int] | None) -> None:
        """
        Make the folders above `path` and an empty file beside it.

        Raises:
            InvalidRequest: `path` is not clean, or a part of it is no folder.
            TooLarge: no room for another file in the box.
        """
        *folders, self._name = parts_below_data(path)
        self._path = path
        self._owner = owner
        self._part = PART_PREFIX + secrets.token_hex(8)
        with _refusals(path), _acting_as(owner):
            self._folder = _make_folders(data_fd, folders)
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                self._fd = openat2(self._folder, self._part, flags, 0o644)
            except BaseException:
                os.close(self._folder)
                raise

    def write(self, data: bytes) -> None:
        """Append `data`. Raises TooLarge when the box is full."""
        view = memoryview(data)
        with _refusals(self._path):
            while view:
                view = view[os.write(self._fd, view) :]

    def finish(self) -> tuple[str, Identity]:
        """
        Put the file in its place, replacing what was there; return its path and identity.

        Raises:
            InvalidRequest: a folder stands in its place.
        """
        with _refusals(self._path), _acting_as(self._owner):
            os.rename(self._part, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        return self._path, identity_of(os.fstat(self._fd))

    def close(self) -> None:
        """Close everything; a file that was not finished is removed."""
        with contextlib.suppress(OSError):  # finished, or the guest took it away
            os.unlink(self._part, dir_fd=self._folder)
        os.close(self._fd)
        os.close(self._folder)


def link(data_fd: int, path: str, target: str, owner: tuple[int, int] | None) -> bool:
    """
    Let `path` lead, within the box, to `target` (both absolute, below /mnt/data): by a symbolic
    link, which nobody outside ever follows. True if it leads there now; False where the box has
    something else at `path`, which is left alone.

    Raises:
        InvalidRequest: a path is not clean, or the box forbids it.
        TooLarge: no room for another name in the box.
    """
    *folders, name = parts_below_data(path)
    text = "/".join([".."] * len(folders) + parts_below_data(target))
    with _refusals(path), _acting_as(owner):
        folder = _make_folders(data_fd, folders)
        try:
            return _link_in(folder, name, text)
        finally:
            os.close(folder)


def _link_in(folder: int, name: str, text: str) -> bool:
    try:
        os.symlink(text, name, dir_fd=folder)
    except FileExistsError:
        try:
            if os.readlink(name, dir_fd=folder) == text:
                return True
        except OSError:
            return False  # no link: the box's own
        # An older link of ours, or one that the box made: either way it is just a name.
        part = PART_PREFIX + secrets.token_hex(8)
        os.symlink(text, part, dir_fd=folder)
        os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
    return True


def remove(data_fd: int, path: str) -> bool:
    """
    Remove the file at `path`; False if none was there. A link is removed, not what it names.

    Raises:
        InvalidRequest: the path is not clean, names a folder, or its owner forbids it.
    """
    *folders, name = parts_below_data(path)
    try:
        folder = openat2(data_fd, "/".join(folders) or ".", FOLDER)
    except OSError:
        return False
    try:
        with _refusals(path), contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
            return True
        return False
    finally:
        os.close(folder)


def _make_folders(data_fd: int, names: list[str]) -> int:
    """Return a descriptor of the innermost of `names` below `data_fd`, made where missing."""
    folder = openat2(data_fd, ".", FOLDER)
    for name in names:
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=folder)
            inner = openat2(folder, name, FOLDER)
        finally:
            os.close(folder)
        folder = inner
    return folder


@contextlib.contextmanager
def _acting_as(owner: tuple[int, int] | None) -> Iterator[None]:
    """
    Do file operations with the credentials of `owner` (uid, gid); None: with our own.

    setfsuid(2) holds for the calling thread only, so other threads keep theirs.
    """
    if owner is None:
        yield
        return
    uid, gid = owner
    try:
        _libc.setfsgid(ctypes.c_uint(gid))
        _libc.setfsuid(ctypes.c_uint(uid))
        # The call reports no error; asking with an impossible id returns the present one.
        if _libc.setfsuid(ctypes.c_uint(0xFFFFFFFF)) != uid:
            raise PermissionError(errno.EPERM, "setfsuid was refused")
        yield
    finally:
        _libc.setfsuid(ctypes.c_uint(os.geteuid()))
        _libc.setfsgid(ctypes.c_uint(os.getegid()))


@contextlib.contextmanager
def _refusals(path: str) -> Iterator[None]:
    """Turn what the box's filesystem says into an error of ours."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise TooLarge(
                f"There is no space left in the container for {path!r}.", param="path"
            ) from error
        raise InvalidRequest(
            f"{path!r} cannot be used in the container: {error.strerror}.", param="path"
        ) from error
