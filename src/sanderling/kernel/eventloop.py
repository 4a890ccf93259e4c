"""
One event loop for all cells: `await`, `asyncio.create_task` and `asyncio.run` work in each of them.

In Jupyter a loop runs around every cell, so tasks can be made anywhere, but `asyncio.run` and
`loop.run_until_complete` are refused. Here the loop only seems to run while a cell does: whoever
asks for the running loop gets it, and who runs one (this or another) is let through.
"""

from __future__ import annotations

import asyncio
import functools
from asyncio import base_events, events, runners
from collections.abc import Callable
from typing import Any

_get_running, _set_running = events._get_running_loop, events._set_running_loop  # noqa: SLF001


def install() -> None:
    """Have asyncio run loops although one seems to run. Done once for a process."""
    places: Any = (
        (asyncio, "run"),
        (runners, "run"),
        (runners.Runner, "run"),
        (base_events.BaseEventLoop, "run_until_complete"),
        (base_events.BaseEventLoop, "run_forever"),
    )
    for owner, name in places:
        call = getattr(owner, name)
        if not hasattr(call, "__wrapped__"):
            setattr(owner, name, _let_through(call))


def _let_through(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def run(*args: Any, **options: Any) -> Any:
        seeming: Any = _get_running()
        if seeming is None or seeming.is_running():
            return call(*args, **options)
        _set_running(None)
        try:
            return call(*args, **options)
        finally:
            _set_running(seeming)

    return run


def seem_to_run(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> object:
    """Call with `loop` as the running one; then let tasks that were made begin."""
    asyncio.set_event_loop(loop)
    _set_running(loop)
    try:
        value = call()
        if getattr(loop, "_ready", None):
            loop.run_until_complete(asyncio.sleep(0))
        return value
    finally:
        _set_running(None)
