"""
What the zygote does once so that no kernel has to: import libraries, touch what they build lazily.

It must end with one thread, since only that one survives a fork, and without having run a parallel
region of OpenMP: libgomp's pool does not survive a fork either, and a child's first region would
then wait for it for ever. So nothing of scikit-learn is ever fitted here.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import io
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sanderling.kernel import limits
from sanderling.kernel.orphans import ORPHANS

# What code written by models imports, and what the libraries below would import at first use.
STANDARD_MODULES = (
    "argparse asyncio base64 bisect calendar collections concurrent.futures contextlib copy csv "
    "dataclasses datetime decimal difflib enum fractions functools glob gzip hashlib heapq html "
    "importlib.metadata inspect io itertools json locale logging math multiprocessing operator os "
    "pathlib pickle platform pprint queue random re shutil socket sqlite3 statistics string "
    "subprocess tempfile textwrap threading time timeit traceback types typing unicodedata "
    "urllib.parse urllib.request uuid warnings xml.etree.ElementTree zipfile zoneinfo"
).split()

# Read once by the libraries when they load: one thread each, so that a fork is safe.
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


# What the standard modules together are called among the costs.
STANDARD = "(standard library)"


@dataclass(frozen=True, slots=True)
class Cost:
    """What loading and warming one module took, with all that it loaded first."""

    name: str
    ms: float
    bytes: int  # by which the process grew


# Read once by pyarrow, which pandas loads: its jemalloc would start a thread, and its mimalloc take
# a gibibyte of addresses for a few kilobytes, all of which `heap.py` would put into its file.
_ARROW = {"JE_ARROW_MALLOC_CONF": "background_thread:false", "ARROW_DEFAULT_MEMORY_POOL": "system"}


@dataclass(frozen=True, slots=True)
class PreloadReport:
    """
    modules: of the names asked for, those that are loaded now.
    missing: those that are not installed in this environment.
    costs: of the standard modules, then of each of `modules`, in the order they were loaded.
    """

    modules: tuple[str, ...]
    missing: tuple[str, ...]
    costs: tuple[Cost, ...] = ()

    def as_facts(self) -> dict[str, Any]:
        """Return what the host is told of it."""
        return {
            "modules": list(self.modules),
            "missing": list(self.missing),
            "costs": [[cost.name, round(cost.ms, 1), cost.bytes] for cost in self.costs],
        }


class PreloadFailed(Exception):
    """The process cannot be forked safely after what was loaded."""


def environ(path: str, home: str) -> dict[str, str]:
    """Return the environment variables to load libraries with, and for kernels to live with."""
    return {
        "PATH": path,
        "HOME": home,
        "USER": "user",
        "LANG": "C.UTF-8",
        "TMPDIR": "/tmp",  # noqa: S108 - the box's own
        "MPLBACKEND": "agg",
        "MPLCONFIGDIR": f"{home}/.config/matplotlib",
        "PYTHONUNBUFFERED": "1",
        # joblib counts cores in /sys, which is not here, and would warn in every cell that asks.
        "LOKY_MAX_CPU_COUNT": str(os.cpu_count() or 1),
        **dict.fromkeys(_ONE_THREAD, "1"),
    }


def forget_one_thread() -> None:
    """The libraries are loaded: take out of the environment what was said for them alone."""
    for name in _ONE_THREAD:
        del os.environ[name]
    for name in _ARROW:
        os.environ.pop(name, None)


class _Meter:
    """Adds up what is done on behalf of each module."""

    def __init__(self) -> None:
        self._costs: dict[str, Cost] = {}
        self.started_threads: list[str] = []

    @contextlib.contextmanager
    def on_behalf_of(self, name: str) -> Iterator[None]:
        began, bytes_before, threads_before = time.perf_counter(), _resident_bytes(), _threads()
        yield
        known = self._costs.get(name, Cost(name, 0.0, 0))
        self._costs[name] = Cost(
            name,
            known.ms + (time.perf_counter() - began) * 1000,
            known.bytes + _resident_bytes() - bytes_before,
        )
        if _threads() > threads_before:
            self.started_threads.append(name)

    def costs(self, names: Sequence[str]) -> tuple[Cost, ...]:
        return tuple(self._costs[name] for name in names)


def preload(names: Sequence[str], required: Sequence[str] = ()) -> PreloadReport:
    """
    Import the standard modules and `names`, and warm what is lazy in them.

    The caller has set the environment before: MPLBACKEND=agg, one thread for BLAS and OpenMP, and
    writable folders for matplotlib and joblib.

    required: of `names`, those that have to be installed.

    Raises:
        PreloadFailed: the process has more than one thread, a module is not what it should be, or
            a required one is not there.
    """
    os.environ.update(_ARROW)
    loaded: list[str] = []
    missing: list[str] = []
    meter = _Meter()
    with meter.on_behalf_of(STANDARD):
        for name in STANDARD_MODULES:
            _load(name)
    ORPHANS.watch()
    with _handlers_of_children() as handlers:
        for name in names:
            with meter.on_behalf_of(name):
                (loaded if _load(name) else missing).append(name)
    if absent := [name for name in missing if name in required]:
        raise PreloadFailed(f"Not installed in this environment: {', '.join(absent)}.")
    for name, warm in _WARMERS.items():
        if name in loaded:
            with meter.on_behalf_of(name):
                warm()
    limits.THREAD_POOLS.find()
    for forget in handlers:
        forget()
    absent = [name for name in loaded if name not in sys.modules]
    if absent:
        raise PreloadFailed(f"Loaded, but not there: {', '.join(absent)}.")
    threads = _threads()
    if threads != 1:
        raise PreloadFailed(
            f"The libraries have started {threads - 1} threads "
            f"({', '.join(meter.started_threads) or 'before they were loaded'}), and a process "
            "with threads cannot be forked safely."
        )
    return PreloadReport(tuple(loaded), tuple(missing), meter.costs([STANDARD, *loaded]))


def preload_or_fail(names: Sequence[str], required: Sequence[str]) -> PreloadReport:
    """As `preload`, and whatever a library raises when it is imported is a PreloadFailed too."""
    try:
        return preload(names, required)
    except PreloadFailed:
        raise
    except Exception as error:
        raise PreloadFailed(f"{type(error).__name__}: {error}") from error


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


def _resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def close_files() -> None:
    """
    Close what libraries keep open. A fork does so by itself, by their own hooks; a process that is
    restored elsewhere, with other descriptors, has to do it before.
    """
    font_manager: Any = sys.modules.get("matplotlib.font_manager")
    if font_manager is not None:
        font_manager._get_font.cache_clear()  # noqa: SLF001 - as matplotlib's own at-fork hook


def freeze() -> None:
    """Take all objects out of the garbage collector's sight: it would write to their pages."""
    gc.collect()
    gc.freeze()


@contextlib.contextmanager
def _handlers_of_children() -> Iterator[list[Callable[[], object]]]:
    """
    Collect what libraries register to be called in a forked child.

    They forget there what a child must not share, such as fonts that are open files. A box is
    forked without calling them (`wall/linux.fork`); called once before, they do for all boxes.
    """
    register, handlers = os.register_at_fork, list[Callable[[], object]]()

    def register_and_remember(**given: Any) -> None:
        register(**given)
        if "after_in_child" in given:
            handlers.append(given["after_in_child"])

    os.register_at_fork = register_and_remember  # type: ignore[assignment,unused-ignore]
    try:
        yield handlers
    finally:
        os.register_at_fork = register


def _load(name: str) -> bool:
    """Import a module; return False if it is not installed."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or name.split(".", 1)[0] != error.name.split(".", 1)[0]:
            raise  # something that it needs is missing: the environment is broken
        return False
    return True


def _warm_pandas() -> None:
    numpy: Any = sys.modules["numpy"]
    pandas: Any = sys.modules["pandas"]
    # Said outright, or pandas 3 warns with every .xlsx that its default is going to change.
    pandas.set_option("io.excel.xlsx.reader", "openpyxl")
    # Or it warns with every .xls and .xlsb that their default is deprecated.
    if importlib.util.find_spec("python_calamine"):
        for kind in ("xls", "xlsb"):
            with contextlib.suppress(ValueError):  # an older pandas has no such engine
                pandas.set_option(f"io.excel.{kind}.reader", "calamine")
    # As in notebooks; pandas takes a process without a terminal for one that has a wide one.
    pandas.set_option("display.max_columns", 20)
    table = pandas.DataFrame({"key": numpy.arange(100) % 10, "value": numpy.arange(100.0)})
    table.groupby("key")["value"].agg(["mean", "sum", "std"])
    table["when"] = pandas.to_datetime("2020-01-31") + pandas.to_timedelta(table["key"], "D")
    repr(table.describe())
    repr(table)
    pandas.read_csv(io.StringIO(table.to_csv(index=False)))


def _warm_pyplot() -> None:
    pyplot: Any = sys.modules["matplotlib.pyplot"]
    figure, axes = pyplot.subplots()
    axes.plot([1, 2], label="line")
    axes.bar([1, 2], [1, 2])
    axes.set_title("title")
    axes.legend()
    figure.savefig(io.BytesIO(), format="png", bbox_inches="tight")
    pyplot.close(figure)


def _warm_sklearn() -> None:
    # It counts cores for its first OpenMP region in files that boxes do not have, and warns.
    context: Any = sys.modules.get("joblib.externals.loky.backend.context")
    if context is not None and hasattr(context, "physical_cores_cache"):
        context.physical_cores_cache = os.cpu_count() or 1


_WARMERS: dict[str, Callable[[], None]] = {
    "pandas": _warm_pandas,
    "matplotlib.pyplot": _warm_pyplot,
    "sklearn.ensemble": _warm_sklearn,
}
