"""
Processes that cannot know what cells define, refused it at once.

A forked child has everything. A spawned one imports what it needs, and what cells define is in no
file: a pool's worker dies of each task, and the pool starts another one for it, without end. So
what is sent to such a process is looked at as it is pickled, however deep in it the thing lies.
"""

from __future__ import annotations

import contextlib
import functools
import io
import sys
from collections.abc import Callable
from multiprocessing import context, process, reduction
from types import FunctionType, ModuleType
from typing import Any

from sanderling.kernel.hooks import after_import

_UNKNOWN = (
    "A process started by {method!r} does not know `{name}`, which a cell has defined. Use the "
    "method 'fork', or write it into a module with %%writefile and import it."
)

_modules = sys.modules


def install(folder: str) -> None:
    """
    Have such processes and their pools refuse such things, now or when they are loaded.

    folder: where they look for the user's modules.
    """
    names: Any = process
    names.ORIGINAL_DIR = folder  # loaded before the fork, it has one of the machine's
    names = reduction
    if not hasattr(names.dump, "__wrapped__"):
        names.dump = _dumping(names.dump)
    after_import({"multiprocessing.pool": _wrap_pool, "concurrent.futures.process": _wrap_executor})


class _Pickler(reduction.ForkingPickler):
    """Pickles for a process that has not run the cells; `refusal`: of what that does not know."""

    def __init__(self, *args: Any, method: str = "spawn") -> None:
        super().__init__(*args)
        self._method = method
        self.refusal: RuntimeError | None = None

    def reducer_override(self, value: Any) -> Any:
        """Called with every function and class that something is made of."""
        is_ours = isinstance(value, type | FunctionType) and value.__module__ == "__main__"
        if is_ours and not _has_file():
            name = getattr(value, "__qualname__", "?")
            self.refusal = RuntimeError(_UNKNOWN.format(method=self._method, name=name))
            raise self.refusal
        return NotImplemented


def _has_file() -> bool:
    """Whether a new process finds our `__main__`: a file that `%run` runs, it loads as well."""
    main = _modules.get("__main__")
    return getattr(main, "__file__", None) is not None


def _dumping(dump: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(dump)
    def dump_for_child(value: Any, file: Any, protocol: Any = None) -> None:
        starting: Any = context.get_spawning_popen()
        if starting is None:
            dump(value, file, protocol)
        else:
            _Pickler(file, protocol, method=starting.method).dump(value)

    return dump_for_child


def _method_of(its_context: Any) -> str:
    """How processes of a context are started; those of a pool of threads as if they were forked."""
    return str(its_context.get_start_method()) if its_context is not None else "fork"


def _wrap_pool(module: ModuleType) -> None:
    pool: Any = module.Pool  # type: ignore[attr-defined,unused-ignore]
    set_up = pool._setup_queues  # noqa: SLF001 - where tasks are put
    if hasattr(set_up, "__wrapped__"):
        return

    @functools.wraps(set_up)
    def set_up_queues(self: Any) -> None:
        set_up(self)
        method = _method_of(self._ctx)
        if method == "fork":
            return
        send = self._inqueue._writer.send_bytes  # noqa: SLF001

        def put(task: Any) -> None:
            send(_pickled(task, method))  # what it raises becomes the task's result

        self._quick_put = put

    pool._setup_queues = set_up_queues  # noqa: SLF001


def _wrap_executor(module: ModuleType) -> None:
    executor: Any = module.ProcessPoolExecutor  # type: ignore[attr-defined,unused-ignore]
    submit = executor.submit
    if hasattr(submit, "__wrapped__"):
        return

    @functools.wraps(submit)
    def check_and_submit(self: Any, fn: Any, /, *args: Any, **options: Any) -> Any:
        method = _method_of(self._mp_context)
        if method != "fork":
            _refuse_unknown((fn, args, options), method)
        return submit(self, fn, *args, **options)

    executor.submit = check_and_submit


class _Nowhere:
    """A file of which nothing is kept: what is sent may be half of the memory."""

    def write(self, data: bytes) -> int:
        """Do as if."""
        return len(data)


def _refuse_unknown(value: Any, method: str) -> None:
    """Raise if the process does not know a part of `value`; of all else the executor tells."""
    pickler = _Pickler(_Nowhere(), None, method=method)
    with contextlib.suppress(Exception):
        pickler.dump(value)
    if pickler.refusal is not None:
        raise pickler.refusal


def _pickled(value: Any, method: str) -> Any:
    """Return `value` as the process is to read it. Raises what pickling raises."""
    file = io.BytesIO()
    _Pickler(file, None, method=method).dump(value)
    return file.getbuffer()
