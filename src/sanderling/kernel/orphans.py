"""
The dead that nobody else buries: a box's kernel is its pid 1, and inherits every orphan.

A dead process keeps its number, one of a few hundred, until its parent has asked for it. Orphans
become children of pid 1, where they look like the processes that user code has started itself and
may still ask for (`Popen.wait`). So the functions that start processes are made to note whom they
started. Whoever is dead, was not started by them, and was so already a look ago, is buried.
"""

from __future__ import annotations

import _posixsubprocess
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

LOOK_EVERY_S = 1.0  # while a cell starts processes

_waitid, _waitpid, _listdir, _getpid = os.waitid, os.waitpid, os.listdir, os.getpid
_WITHOUT_ASKING = os.WEXITED | os.WNOHANG | os.WNOWAIT
_P_ALL, _WNOHANG = os.P_ALL, os.WNOHANG
_now = time.monotonic


class Orphans:
    """The dead children of this process that nobody will ask for."""

    def __init__(self) -> None:
        self._own: set[int] = set()  # started by this process
        self._dead: set[int] = set()  # at the last look, and not its own
        self._looked_at = 0.0

    def watch(self) -> None:
        """Note from now on whom this process starts. Call it before libraries are loaded."""
        modules: Any = (os, _posixsubprocess, subprocess)
        for module in modules:
            for name in ("fork", "forkpty", "posix_spawn", "posix_spawnp", "fork_exec"):
                for found in (name, f"_{name}"):
                    start = vars(module).get(found)
                    if callable(start) and not hasattr(start, "__wrapped__"):
                        setattr(module, found, self._noting(start))

    def bury(self) -> None:
        """Bury whom nobody asks for. Cheap where nobody is dead."""
        self._looked_at = _now()
        try:
            if _waitid(_P_ALL, 0, _WITHOUT_ASKING) is None:
                self._dead = set()
                return
            there = dict(_children())
            own = self._own & there.keys()
            dead = {pid for pid, is_dead in there.items() if is_dead and pid not in own}
            for pid in dead & self._dead:
                _waitpid(pid, _WNOHANG)
        except OSError:  # no children at all, or somebody else has asked for one
            own, dead = set(), set()
        self._own, self._dead = own, dead - self._dead

    def _noting(self, start: Callable[..., Any]) -> Callable[..., Any]:
        def start_and_note(*args: Any, **options: Any) -> Any:
            if _now() - self._looked_at > LOOK_EVERY_S:
                self.bury()
            started = start(*args, **options)
            self._own.add(started[0] if isinstance(started, tuple) else started)
            return started

        start_and_note.__wrapped__ = start  # type: ignore[attr-defined]
        return start_and_note


def _children() -> Iterator[tuple[int, bool]]:
    """Yield the children of this process, and whether each is dead."""
    parent = str(_getpid())
    for name in _listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat") as file:
                state, its_parent = file.read().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # it is gone
        if its_parent == parent:
            yield int(name), state == "Z"


ORPHANS = Orphans()
