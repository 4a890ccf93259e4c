"""
The border between the kernel's code and the user's: what is true on one side only.

User code is called through `Border.cross` and nowhere else. On the far side SIGINT raises
KeyboardInterrupt; on the near side it does nothing. What user code may leave behind that would trip
the kernel (a trace function, a low recursion limit, another SIGINT handler, replaced builtins) is
undone on the way back: a cell that broke `len` has broken itself only. The memory limit is a little
wider on the near side, so that a cell which used up all of it can still be told so.

A KeyboardInterrupt is only ever raised in a frame called by `cross`, never in its own: so there is
no moment, however often the host repeats the signal, at which it could escape into the kernel.
While a message is being sent it waits until the message is out (`deliver`).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found,unused-ignore]
import builtins
import contextlib
import operator
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any, TypeVar

T = TypeVar("T")

RESERVE_BYTES = 32 << 20  # what formatting a traceback and sending it takes, many times over
_SHIELD_DEPTH = 8  # frames below a shielded function that still count as its own

# Taken now: user code may put others in their place.
# The bare one: `signal.getsignal` looks for an enum member with our handler's value, for 7 µs.
_get_handler, _set_handler = _signal.getsignal, signal.signal
_settrace, _setprofile = sys.settrace, sys.setprofile
_get_recursion_limit, _set_recursion_limit = sys.getrecursionlimit, sys.setrecursionlimit
_setrlimit = resource.setrlimit
_get_ident = threading.get_ident
_is_not, _map = operator.is_not, map


class Border:
    """Made once, in the main thread."""

    def __init__(self) -> None:
        self.is_pending = False  # a SIGINT waits for a message to be out
        self._is_across = False
        self._main_thread = _get_ident()
        self._shielded: frozenset[CodeType] = frozenset()
        self._handler = self._on_interrupt
        self._recursion_limit = _get_recursion_limit()
        # While user code runs, and otherwise: made once, for when there is no memory to make it.
        self._memory: tuple[tuple[int, int], tuple[int, int]] | None = None
        self._memory_kind = resource.RLIMIT_DATA
        self._builtins = vars(builtins)
        self._originals: dict[str, Any] = {}
        self._names: tuple[str, ...] = ()
        self._values: tuple[Any, ...] = ()
        _set_handler(signal.SIGINT, self._handler)

    def remember_builtins(self) -> None:
        """From now on, take what `builtins` holds for what the kernel needs there."""
        self._originals = dict(self._builtins)
        self._names = tuple(self._originals)
        self._values = tuple(self._originals.values())

    def shield(self, *functions: CodeType) -> None:
        """Raise no KeyboardInterrupt inside `functions`, which call `deliver` when they end."""
        self._shielded |= frozenset(functions)

    def limit_memory(self, kind: int, size: int) -> None:
        """
        Bound the process to `size` bytes of `kind`, RLIMIT_DATA or RLIMIT_AS, once it crosses.

        Not before: until there is user code, somebody may think of a larger size.

        Raises:
            ValueError: the machine's own limit is lower.
        """
        hard = size + RESERVE_BYTES
        _, most = resource.getrlimit(kind)
        if most != resource.RLIM_INFINITY and hard > most:
            raise ValueError(f"a limit of {hard} bytes is above the machine's own, {most}")
        self._memory_kind = kind
        self._memory = ((size, hard), (hard, hard))

    @contextlib.contextmanager
    def without_limit(self) -> Iterator[None]:
        """Bound nothing meanwhile, so that the bound can still be changed after it."""
        memory, self._memory = self._memory, None
        try:
            yield
        finally:
            self._memory = memory

    def cross(self, call: Callable[[], T]) -> T:
        """Call user code. Whatever it raises comes through."""
        self._prepare()
        self._is_across = True
        try:
            return call()
        finally:
            self._is_across = False
            try:
                _setprofile(None)
            finally:  # one that raises when it sees this call is removed by Python for it
                _settrace(None)
                self._recover()

    def deliver(self) -> None:
        """Raise the KeyboardInterrupt that had to wait. Call when a message is out."""
        if _get_ident() == self._main_thread:
            self.is_pending = False
            if self._is_across:
                raise KeyboardInterrupt

    def _on_interrupt(self, _number: int, frame: FrameType | None) -> None:
        if not self._is_across or frame is None or frame.f_code is _CROSS:
            return
        inner: FrameType | None = frame
        depth = 0
        while inner is not None and depth < _SHIELD_DEPTH:
            if inner.f_code in self._shielded:
                self.is_pending = True
                return
            inner = inner.f_back
            depth += 1
        raise KeyboardInterrupt

    def _prepare(self) -> None:
        self.is_pending = False
        if self._memory is not None:
            _setrlimit(self._memory_kind, self._memory[0])

    def _recover(self) -> None:
        # The reserve first, and without taking any memory: there may be none for a single object.
        if self._memory is not None:
            _setrlimit(self._memory_kind, self._memory[1])
        # Then builtins, and without any: nothing else here works if they do not.
        for is_other in _map(_is_not, _map(self._builtins.get, self._names), self._values):
            if is_other:
                self._builtins.update(self._originals)
                break
        if _get_recursion_limit() < self._recursion_limit:
            _set_recursion_limit(self._recursion_limit)
        if _get_handler(signal.SIGINT) is not self._handler:
            _set_handler(signal.SIGINT, self._handler)


_CROSS = Border.cross.__code__
