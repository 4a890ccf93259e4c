"""
Runs that were not to be stored: each is forgotten when nobody can ask for it any more.

Such a run has its rows and events like every other while it is at work, because that is what its
stream is made of. Whoever started it lets go of it when it has read the end; then the run, its
items, its events and the files that came inside its request are gone at once. A background run,
which clients can only poll, and one whose client left, go ten minutes after their end.
"""

from __future__ import annotations

from sanderling.clock import Clock
from sanderling.records import Run
from sanderling.store.store import Store

# How long a run that was not to be stored can still be polled: OpenAI's "about ten minutes".
UNSTORED_KEPT_S = 600.0


class Unstored:
    """The forgetting of one server."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._kept: set[str] = set()

    def keep(self, run_id: str) -> None:
        """Let the run be swept by nobody until it is forgotten; it is somebody's to continue."""
        self._kept.add(run_id)

    async def forget(self, run: Run) -> None:
        """Delete the run, with the files that came inside its request."""
        self._kept.discard(run.id)
        await self._store.runs.delete(run.request.organization_id, run.id)
        await self._delete_files(run)

    async def sweep(self) -> int:
        """Forget the runs that ended ten minutes ago and that nobody keeps; return how many."""
        forgotten = await self._store.runs.forget_unstored(
            self._clock.now() - UNSTORED_KEPT_S, keeping=frozenset(self._kept)
        )
        for run in forgotten:
            await self._delete_files(run)
        return len(forgotten)

    async def _delete_files(self, run: Run) -> None:
        organization_id = run.request.organization_id
        for file_id in run.request.inline_file_ids:
            file = await self._store.files.get(organization_id, file_id)
            if file is not None:
                await self._store.files.delete(organization_id, file_id)
                await self._store.release_blob(file.blob_id)
