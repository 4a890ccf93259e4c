"""
Limits in words: what a person or a model is told when code has met one.

The kernel adds a sentence to the traceback of an exception that a limit has caused; the host says
the same sentence when it has counted that a limit was met and no traceback has said so (the code
may have caught the exception). Both take the words from here, so that nothing is said twice.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Iterator

from sanderling.kernel import network
from sanderling.kernel.limits import PROCESSES_MAX

NETWORK = "There is no network here: nothing can be downloaded or asked. Use what is installed."
PROCESSES = f"There can be at most {PROCESSES_MAX} processes and threads at a time."

_CHAIN_MAX = 10  # exceptions that led to one another and are looked at
# A thread's stack is memory too: where there are fewer than this, memory was what was missing.
_CROWD = PROCESSES_MAX // 2

# Taken now: user code may put others in their place. (Builtins are put back, border.py.)
_getrlimit, _UNLIMITED = resource.getrlimit, resource.RLIM_INFINITY
_NOFILE, _FSIZE = resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE
_statvfs, _listdir = os.statvfs, os.listdir
_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN)
_EMFILE, _EFBIG, _EAGAIN, _DISK = (
    errno.EMFILE,
    errno.EFBIG,
    errno.EAGAIN,
    (errno.ENOSPC, errno.EDQUOT),
)
# What an exception holds, past whatever its own class says of it.
_cause = BaseException.__dict__["__cause__"].__get__
_context = BaseException.__dict__["__context__"].__get__
_hides_context = BaseException.__dict__["__suppress_context__"].__get__
_arguments = BaseException.__dict__["args"].__get__
_number = OSError.__dict__["errno"].__get__


def size(count: int) -> str:
    """Bytes for people: 1 GiB, 512 MiB."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= factor:
            return f"{count / factor:.4g} {unit}"
    return f"{count} bytes"


def memory(memory_bytes: int) -> str:
    """`memory_bytes`: the container's tier."""
    return f"A process can have at most {size(memory_bytes)} of memory."


def disk(disk_bytes: int, files: int) -> str:
    """`files`: the most files and folders there can be."""
    return (
        f"Files can take at most {size(disk_bytes)} and be {files:,} in number, all of /mnt/data, "
        "/tmp, /home/user and /dev/shm together."  # noqa: S108 - they are named, not used
    )


def explain(error: BaseException, *, memory_bytes: int | None, data_folder: str) -> str | None:
    """Return the sentence about the limit that caused `error`, if one did. Runs no user code."""
    try:
        for each in _chain(error):
            sentence = _sentence(each, memory_bytes, data_folder)
            if sentence is not None:
                return sentence
    except (OSError, MemoryError):
        pass  # told without it
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield `error`, then what it came from."""
    each: BaseException | None = error
    for _ in range(_CHAIN_MAX):
        if each is None:
            return
        yield each
        each = _cause(each) or (None if _hides_context(each) else _context(each))


def _sentence(error: BaseException, memory_bytes: int | None, data_folder: str) -> str | None:
    kind = type(error)
    if issubclass(kind, MemoryError):
        return None if memory_bytes is None else memory(memory_bytes)
    if issubclass(kind, OSError):
        if (issubclass(kind, socket.gaierror) or _number(error) in _UNREACHABLE) and (
            not network.has_proxy()
        ):
            return NETWORK
        return _of_number(_number(error), data_folder)
    if issubclass(kind, RuntimeError) and _says(error, "can't start new thread"):
        if _is_crowded():
            return PROCESSES
        return None if memory_bytes is None else memory(memory_bytes)
    return None


def _of_number(number: object, data_folder: str) -> str | None:
    """`number`: what is in `errno`, where the code may have put anything."""
    if type(number) is not int:
        return None
    if number == _EMFILE:
        most = _getrlimit(_NOFILE)[0]
        return f"A process can have at most {most:,} files open at a time."
    if number == _EFBIG and (most := _getrlimit(_FSIZE)[0]) != _UNLIMITED:
        return f"A file can have at most {size(most)}."
    if number == _EAGAIN and _is_crowded():  # sockets say the same when they have nothing
        return PROCESSES
    if number in _DISK:
        room = _statvfs(data_folder)
        return disk(room.f_blocks * room.f_frsize, room.f_files)
    return None


def _says(error: BaseException, text: str) -> bool:
    told = _arguments(error)
    return len(told) == 1 and type(told[0]) is str and told[0] == text


def _is_crowded() -> bool:
    count = 0
    for name in _listdir("/proc"):
        if name.isdigit():
            try:
                count += len(_listdir(f"/proc/{name}/task"))
            except OSError:
                continue  # it has ended
    return count >= _CROWD
