"""
The heap of the process that is forked, moved into a file in memory that nobody can write.

A fork copies the page tables of anonymous memory, entry by entry, and the end of a process takes
them down again: with all libraries loaded that is half of what a box costs. Of a privately mapped
file nothing is copied: a child finds its pages when it looks at them, two megabytes at a time, and
has a page of its own when it writes to one. So the heap is copied into a memfd, which is sealed,
and mapped from there at the very addresses where it was.

The heap must not change between the copy and the mapping, and Python changes it with every step. So
the whole move is prepared as a chain of contexts (makecontext(3)), each of which calls one function
of the C library, and is run by one call.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import signal
from dataclasses import dataclass
from typing import Any

HUGE_PAGE_BYTES = 2 << 20
_AREA_BYTES_MIN = 256 << 10  # smaller areas are not worth a mapping
_CONTEXT_BYTES = 8192  # ucontext_t has 968 bytes on x86_64, 4,560 on aarch64
_STACK_BYTES = 16384
_MADV_COLLAPSE = 25  # <linux/mman.h>, since Linux 6.1
_MAP_FIXED, _MAP_NORESERVE = 0x10, 0x4000
_F_ADD_SEALS = 1033
_SEALS = 0xF  # F_SEAL_SEAL, _SHRINK, _GROW and _WRITE

_Call = tuple[Any, tuple[int, ...]]  # a function of the C library, and its integer arguments

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int),
    *(ctypes.c_int, ctypes.c_int, ctypes.c_long),
]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


class _Context(ctypes.Structure):
    """The beginning of ucontext_t, the same on all 64-bit machines."""

    _fields_ = (
        ("flags", ctypes.c_ulong),
        ("link", ctypes.c_void_p),
        ("stack", ctypes.c_void_p),
        ("stack_flags", ctypes.c_int),
        ("stack_bytes", ctypes.c_size_t),
    )


@dataclass(frozen=True, slots=True)
class _Area:
    """A part of the heap, and where in the file it is kept."""

    start: int
    size: int
    offset: int


def share() -> None:
    """
    Move what this process has on its heap into a sealed file, in place.

    Call it in a process with one thread, after everything that should be shared was made. Where the
    C library has no contexts (musl) nothing is moved: forks are slower then, no more.

    Raises:
        OSError: there is no memory for it; nothing has changed.
    """
    if not hasattr(_libc, "makecontext"):
        return
    _libc.malloc_trim(0)
    areas = _lay_out(_heap())
    if not areas:
        return
    size = -(-(areas[-1].offset + areas[-1].size) // HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES
    file = os.memfd_create("heap", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(file, size)
        window, reserved = _window(file, size)
        try:
            _move(areas, file, window)
        finally:
            _libc.munmap(reserved, size + HUGE_PAGE_BYTES)
        fcntl.fcntl(file, _F_ADD_SEALS, _SEALS)
    finally:
        os.close(file)


def _heap() -> list[tuple[int, int]]:
    """Return start and size of each anonymous writable area."""
    areas: list[tuple[int, int]] = []
    with open("/proc/self/maps") as maps:
        lines = [line.split() for line in maps]
    for line in lines:
        start, end = (int(address, 16) for address in line[0].split("-"))
        is_heap = len(line) == 5 or line[5] == "[heap]"
        if is_heap and line[1] == "rw-p" and end - start >= _AREA_BYTES_MIN:
            areas.append((start, end - start))
    return areas


def _lay_out(heap: list[tuple[int, int]]) -> list[_Area]:
    """Give each area a place in the file with the same place inside a huge page."""
    areas: list[_Area] = []
    offset = 0
    for start, size in heap:
        offset += (start - offset) % HUGE_PAGE_BYTES
        areas.append(_Area(start, size, offset))
        offset += size
    return areas


def _window(file: int, size: int) -> tuple[int, int]:
    """Map the whole file to write in it; return where, and what was reserved for that."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    reserved = _mapped(None, size + HUGE_PAGE_BYTES, 0, flags, -1, 0)
    start = -(-reserved // HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES
    _mapped(start, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED | _MAP_FIXED, file, 0)
    return start, reserved


def _mapped(start: int | None, size: int, access: int, flags: int, file: int, offset: int) -> int:
    address = _libc.mmap(start, size, access, flags, file, offset)
    if address is None or address == ctypes.c_void_p(-1).value:
        number = ctypes.get_errno()
        raise OSError(number, f"mmap: {os.strerror(number)}")
    return int(address)


def _move(areas: list[_Area], file: int, window: int) -> None:
    """Copy all areas, so that the file has its pages; then once more in the chain, and map them."""
    for area in areas:
        ctypes.memmove(window + area.offset, area.start, area.size)
    for page in range(window, window + areas[-1].offset + areas[-1].size, HUGE_PAGE_BYTES):
        # Refused where huge pages are off or the kernel is old: then small ones are shared.
        _libc.madvise(page, HUGE_PAGE_BYTES, _MADV_COLLAPSE)
    access, flags = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | _MAP_FIXED
    calls: list[_Call] = []
    for area in areas:
        calls.append((_libc.memcpy, (window + area.offset, area.start, area.size)))
        calls.append((_libc.mmap, (area.start, area.size, access, flags, file, area.offset)))
    _call_all(calls)


def _call_all(calls: list[_Call]) -> None:
    """Call functions of the C library one after another, without Python in between."""
    each = _CONTEXT_BYTES + _STACK_BYTES
    size = each * (len(calls) + 1)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    memory = _mapped(None, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
    home = memory + each * len(calls)
    for number, (function, arguments) in enumerate(calls):
        start = memory + number * each
        _libc.getcontext(ctypes.c_void_p(start))
        context = _Context.from_address(start)
        context.link = start + each
        context.stack = start + _CONTEXT_BYTES
        context.stack_bytes = _STACK_BYTES
        converted = [ctypes.c_long(a) for a in arguments]
        count = ctypes.c_int(len(arguments))
        _libc.makecontext(ctypes.c_void_p(start), function, count, *converted)
    # A handler of a signal would be one more that writes to the heap.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        _libc.swapcontext(ctypes.c_void_p(home), ctypes.c_void_p(memory))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    _libc.munmap(memory, size)
