"""
Makes a box stand still between its cells, and go on.

A control group does it whole and at once. Without one, every process of the box is stopped by a
signal, again and again until a look finds all of them standing; as code may have arranged to be
sent the signal that ends this (a timer can), the box is looked at from time to time, and one that
keeps getting up, or is not down in time, is broken off.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from sanderling.sandbox.group import Group
from sanderling.sandbox.processes import Processes

# Between two rounds of signals, while not all stand still: each time longer, for to look at many
# processes takes longer than that.
ROUND_S, ROUND_S_MAX = 0.005, 0.1
DOWN_S_MAX = 10.0  # who ordinarily works is down within some rounds, on a machine on its knees too
LOOK_AGAIN_S = 1.0
RISES_MAX = 3  # who was found running this often while it should stand still did it on purpose


class Freezer:
    """The freezer of one box. Its methods belong to one event loop."""

    def __init__(
        self, group: Group | None, processes: Processes, *, on_defiance: Callable[[], None]
    ) -> None:
        """on_defiance: called when the box cannot be kept still; it must be killed."""
        self._group = group if group is not None and group.has("freezer") else None
        self._processes = processes
        self._on_defiance = on_defiance
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._rises = 0
        self._round_s = ROUND_S
        self._down_by = 0.0
        self.is_frozen = False  # or about to be

    def freeze(self) -> None:
        """Begin to stop everything; `is_still` tells when it stands. Asked again, go on."""
        if self.is_frozen:
            return
        self.is_frozen = True
        if self._group is not None:
            with contextlib.suppress(OSError):  # it is being removed: the box is dead
                self._group.freeze()
        else:
            self._rises = 0
            self._begin_rounds()

    def is_still(self) -> bool:
        """Whether everything stands still."""
        if self._group is None:
            return self._processes.stop()
        try:
            return self._group.is_frozen()
        except OSError:
            return True

    def thaw(self) -> None:
        """Let everything go on that `freeze` stopped."""
        if not self.is_frozen:
            return
        self.is_frozen = False
        self.close()
        if self._group is not None:
            with contextlib.suppress(OSError):
                self._group.thaw()
        else:
            self._processes.resume()

    def close(self) -> None:
        """The box is dead, or goes on: nothing more to see to."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin_rounds(self) -> None:
        self._round_s = ROUND_S
        self._down_by = self._loop.time() + DOWN_S_MAX
        self._round()

    def _round(self) -> None:
        """Send signals to whoever still runs, until nobody does."""
        if self._processes.stop():
            self._timer = self._loop.call_later(LOOK_AGAIN_S, self._look_again)
        elif self._loop.time() > self._down_by:
            self._on_defiance()
        else:
            self._timer = self._loop.call_later(self._round_s, self._round)
            self._round_s = min(2 * self._round_s, ROUND_S_MAX)

    def _look_again(self) -> None:
        if self._processes.stop():
            self._timer = self._loop.call_later(LOOK_AGAIN_S, self._look_again)
            return
        self._rises += 1
        if self._rises >= RISES_MAX:
            self._on_defiance()
        else:
            self._begin_rounds()
