"""
Import once what every kernel will want, and leave the process in a state that is safe to fork.

Four things decide whether forks are cheap and correct: one thread only (a lock held by another
thread stays locked for ever in the child), no OpenMP region ever run (libgomp's children hang in
their first one), the usual first uses done already (so that children share what those allocate),
and the garbage collector told that all this is permanent (one collection would otherwise copy 40
MiB per child). What is promised is checked: a preload that did not happen is an error.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import io
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

_HUGE_PAGE = 2 << 20
_MADV_COLLAPSE = 25  # Linux 6.1; older kernels answer EINVAL, which costs nothing

# The standard library's own modules that data code imports first.
_STANDARD = (
    "asyncio base64 collections concurrent.futures csv dataclasses datetime decimal fractions "
    "functools glob hashlib heapq inspect itertools json logging math multiprocessing operator os "
    "pathlib pickle random re shutil sqlite3 statistics string struct subprocess tempfile textwrap "
    "threading time traceback typing urllib.parse uuid warnings zipfile"
).split()


@dataclass(frozen=True)
class PreloadReport:
    """What is warm. `modules` are the names asked for; `module_count` all that are loaded."""

    modules: tuple[str, ...]
    module_count: int
    duration_ms: float


def preload(names: Sequence[str]) -> PreloadReport:
    """
    Import `names` and use the most common of them once.

    Raises:
        ImportError: one of them is not installed.
        RuntimeError: afterwards the process is not safe to fork.
    """
    started = time.perf_counter()
    for name in (*_STANDARD, *names):
        importlib.import_module(name)
    if "pandas" in names:
        _warm_pandas()
    if "matplotlib.pyplot" in names:
        _warm_matplotlib()
    missing = [name for name in names if name not in sys.modules]
    if missing:
        raise RuntimeError(f"not loaded after the preload: {', '.join(missing)}")
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise RuntimeError(f"a library left {threads - 1} threads behind; forks would not be safe")
    return PreloadReport(
        tuple(names), len(sys.modules), round((time.perf_counter() - started) * 1000, 1)
    )


def _warm_pandas() -> None:
    import numpy
    import pandas

    frame = pandas.DataFrame({"k": numpy.arange(100) % 10, "v": numpy.arange(100.0)})
    frame.groupby("k").v.agg(["mean", "std"])
    pandas.read_csv(io.StringIO(frame.to_csv()))
    repr(frame)
    repr(frame.describe())


def _warm_matplotlib() -> None:
    from matplotlib import pyplot

    _, axes = pyplot.subplots()
    axes.plot([1, 2], label="a")
    axes.bar([1, 2], [1, 2])
    axes.set_title("warm")
    axes.set_xlabel("x")
    axes.legend()
    pyplot.savefig(io.BytesIO(), format="png")
    pyplot.close("all")


def collapse_heap() -> None:
    """Ask for huge pages under the heap: fewer page tables to copy in every fork. Best effort."""
    gc.collect()
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    libc.malloc_trim(0)
    with open("/proc/self/maps") as file:
        lines = file.read().splitlines()
    for line in lines:
        fields = line.split()
        is_anonymous = len(fields) < 6 or fields[5] == "[heap]"
        if fields[1] != "rw-p" or not is_anonymous:
            continue
        low, high = (int(number, 16) for number in fields[0].split("-"))
        first = -(-low // _HUGE_PAGE) * _HUGE_PAGE
        for address in range(first, high - _HUGE_PAGE + 1, _HUGE_PAGE):
            libc.madvise(address, _HUGE_PAGE, _MADV_COLLAPSE)


def freeze() -> None:
    """Take everything alive out of the garbage collector's sight, for this process's children."""
    gc.collect()
    gc.freeze()
