"""
Process pools that would wait for ever for children who cannot know what cells define.

A forked child has everything. A spawned one imports what it needs, and what cells define is in no
file: it dies of each task, and the pool starts another one for it, without end.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

from sanderling.kernel.figures import after_import

_UNKNOWN = (
    "A process started by {method!r} does not know `{name}`, which a cell has defined. Use the "
    "default, 'fork', or write it into a module with %%writefile and import it."
)


def install() -> None:
    """Have pools of such processes refuse such tasks, now or when they are loaded."""
    after_import({"multiprocessing.pool": _wrap_pool})


def _wrap_pool(module: ModuleType) -> None:
    pool: Any = module.Pool  # type: ignore[attr-defined,unused-ignore]
    for name in ("apply_async", "_map_async", "imap", "imap_unordered"):
        call = getattr(pool, name)
        if not hasattr(call, "__wrapped__"):
            setattr(pool, name, _checking(call))


def _checking(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def check_and_call(pool: Any, func: Any, *args: Any, **options: Any) -> Any:
        context = getattr(pool, "_ctx", None)
        # Not in pools of threads, which have a context too.
        if context is not None and getattr(func, "__module__", None) == "__main__":
            method = context.get_start_method()
            if method != "fork" and type(pool).__name__ == "Pool":
                name = getattr(func, "__qualname__", repr(func))
                raise RuntimeError(_UNKNOWN.format(method=method, name=name))
        return call(pool, func, *args, **options)

    return check_and_call
