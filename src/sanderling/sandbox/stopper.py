"""Ends a cell that must not go on."""

from __future__ import annotations

import asyncio
from typing import Literal

from sanderling.sandbox.box import Box

# One SIGINT can arrive before the cell has begun, or be swallowed by its code; many cannot.
INTERRUPT_EVERY_S = 0.1
# Past the longest clean-up a library does on KeyboardInterrupt; nobody wants to wait longer.
GRACE_S = 2.0

Reason = Literal["timed_out", "interrupted"]


class Stopper:
    """
    Ends one cell that must not go on: SIGINT again and again, after the grace SIGKILL.

    Armed with a deadline from the start. `reason` is who asked first, None if nobody did.
    """

    def __init__(self, box: Box, timeout_s: float, grace_s: float) -> None:
        self.reason: Reason | None = None
        self._grace_s = grace_s
        self._box = box
        self._loop = asyncio.get_running_loop()
        self._kill_at = 0.0
        self._timer = self._loop.call_later(timeout_s, self.stop, "timed_out")

    def stop(self, reason: Reason) -> None:
        """Begin to stop the cell; asked again, go on as before."""
        if self.reason is None:
            self.reason = reason
            self._kill_at = self._loop.time() + self._grace_s
            self._press()

    def disarm(self) -> None:
        """The cell is over."""
        self._timer.cancel()

    def _press(self) -> None:
        self._timer.cancel()
        if self._loop.time() >= self._kill_at:
            self._box.kill()
        else:
            self._box.interrupt()
            self._timer = self._loop.call_later(INTERRUPT_EVERY_S, self._press)
