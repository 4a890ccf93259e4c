"""
What is kept of a container that is over, and for how long.

    expired   what a client put into it goes at once; what code made was named to a client, in an
              answer or a citation, and can be downloaded by its id for the retention time
    deleted   everything goes at once

The records say all there is to know, so a sweep that was cut off, by a full disk or by the death of
the server, is just made again. It goes in small steps, each a transaction of its own.
"""

from __future__ import annotations

from sanderling.clock import Clock
from sanderling.containers.files import Files
from sanderling.store.store import Store

# Rows in memory at once, and how long others may have to wait for the writer.
_BATCH = 100


class Retention:
    """Discards what is not to be kept any more."""

    def __init__(self, store: Store, files: Files, clock: Clock, *, kept_s: float) -> None:
        """kept_s: how long what code made can be had after its container has expired."""
        self._store = store
        self._files = files
        self._clock = clock
        self._kept_s = kept_s

    async def sweep(self, container_id: str | None = None) -> int:
        """
        Discard all that is due, of one container or of all; return how many files.

        Raises:
            SanderlingError: the store failed; what was not reached is due the next time.
        """
        expired_before = self._clock.now() - self._kept_s
        discarded = 0
        while True:
            due = await self._store.container_files.due(
                expired_before, limit=_BATCH, container_id=container_id
            )
            for file in due:
                await self._files.drop(file)
            discarded += len(due)
            if len(due) < _BATCH:
                return discarded
