"""
/mnt/data of one container, for the event loop: read, write, delete, and what has changed.

The folder outlives kernels, so it is held here by a descriptor of its own and closed only when the
last reader is done. Bytes move in worker threads, one chunk at a time, so that 512 MB take constant
memory and the loop never waits for the machine to find pages. Opening, renaming and short walks are
done in place: they only touch memory, and a thread would cost more than the work.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterator
from typing import ParamSpec, TypeVar

from sanderling.errors import NotFound
from sanderling.sandbox import box_files
from sanderling.sandbox.base import ChangedFile
from sanderling.sandbox.box_files import PartFile, Room
from sanderling.sandbox.snapshots import (
    NO_DIFFERENCE,
    Difference,
    Snapshot,
    difference,
    remembered,
    walk,
)

CHUNK_BYTES = 1 << 20
# A walk this short takes about as long as handing it to a thread.
_WALK_IN_PLACE_MAX = 64
# The coarse clock that stamps files moves at least every 10 ms (CONFIG_HZ=100).
_TICK_NS_MAX = 10_000_000
_CLOCK_REALTIME_COARSE = 5  # include/uapi/linux/time.h; Python has no name for it

_P = ParamSpec("_P")
_T = TypeVar("_T")


class DataFolder:
    """The files of one container, as long as its box stands."""

    def __init__(self, data_fd: int, owner: tuple[int, int] | None) -> None:
        """`data_fd` is duplicated; `owner` is whom files written from outside must belong to."""
        self._fd = fcntl.fcntl(data_fd, fcntl.F_DUPFD_CLOEXEC, 3)
        self._owner = owner
        self._users = 0
        self._is_closed = False
        self._seen = Snapshot()
        self._bare_since = 0  # the folder's ctime if it had no entry then, else 0
        self._order = asyncio.Lock()  # a walk sees a write from outside wholly or not at all

    async def read(self, path: str) -> AsyncGenerator[bytes, None]:
        """Stream the regular file at `path`. Raises NotFound, before the first chunk."""
        with self._in_use():
            file = box_files.open_to_read(self._fd, path)
            try:
                offset = 0
                while chunk := await _in_thread(file.read, offset, CHUNK_BYTES):
                    offset += len(chunk)
                    yield chunk
            finally:
                file.close()

    async def write(self, path: str, data: AsyncIterable[bytes]) -> int:
        """
        Put `data` at `path` in one step, when it is all there; return its bytes.

        Raises: NotFound (closed), InvalidRequest (path), TooLarge (no space left).
        """
        count = 0
        with self._in_use():
            part = PartFile(self._fd, path, self._owner)
            try:
                async for chunk in data:
                    await _in_thread(part.write, chunk)
                    count += len(chunk)
                async with self._order:
                    absolute, identity = part.finish()
                    self._seen.files[absolute] = identity
            finally:
                part.close()
        return count

    async def delete(self, path: str) -> bool:
        """Remove the file at `path`; False if it was not there. Raises NotFound, InvalidRequest."""
        with self._in_use():
            async with self._order:
                was_there = box_files.remove(self._fd, path)
                self._seen.files.pop(path, None)
                return was_there

    async def link(self, path: str, target: str) -> bool:
        """Let `path` lead to `target` in the box. Raises NotFound, InvalidRequest, TooLarge."""
        with self._in_use():
            async with self._order:
                return box_files.link(self._fd, path, target, self._owner)

    async def changes(self) -> Difference:
        """Compare with the last time this was asked; what was done from outside not counted."""
        with self._in_use():
            async with self._order:
                if self._is_still_bare():
                    return NO_DIFFERENCE
                looked_ns, ctime_ns = _coarse_ns(), os.fstat(self._fd).st_ctime_ns
                after = walk(self._fd, entries_max=_WALK_IN_PLACE_MAX)
                if not after.is_complete:
                    after = await _in_thread(walk, self._fd)
                found = difference(self._seen, after)
                self._seen = remembered(self._seen, after, found)
                # An entry made in the same tick would leave the folder's time as it is.
                is_sure = after.is_bare and looked_ns > ctime_ns and not self._seen.files
                self._bare_since = ctime_ns if is_sure else 0
                return found

    def _is_still_bare(self) -> bool:
        """
        Whether the folder had no entry when last looked at, and got none: making one changes its
        ctime, which nobody in the box can set back. Nearly every cell; a walk takes far longer.
        """
        return self._bare_since != 0 and os.fstat(self._fd).st_ctime_ns == self._bare_since

    async def present(self) -> list[ChangedFile]:
        """Return the regular files as they are now; as many as an execution names at most."""
        with self._in_use():
            async with self._order:
                found = await _in_thread(walk, self._fd)
        return list(difference(Snapshot(), found).changed)

    def room(self) -> Room:
        """Return how much room the box has for files. Raises NotFound."""
        with self._in_use():
            return box_files.room(self._fd)

    async def settle(self) -> None:
        """
        Wait until a file written now gets a later time than every file seen so far.

        Files are stamped by a clock that ticks every few milliseconds; without this, a file
        rewritten with as many bytes within one tick would look unchanged. Nearly always the tick
        is long past and nothing is waited for.
        """
        newest = max((identity[3] for identity in self._seen.files.values()), default=0)

        while 0 <= newest - _coarse_ns() <= _TICK_NS_MAX:  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    def close(self) -> None:
        """Let go of the folder, when its last reader is done. New calls raise NotFound."""
        if not self._is_closed:
            self._is_closed = True
            self._close_if_unused()

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        if self._is_closed:
            raise NotFound("The box of this container is gone.")
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._is_closed and self._users == 0:
            os.close(self._fd)


def _coarse_ns() -> int:
    """The time by the clock that stamps files."""
    return time.clock_gettime_ns(_CLOCK_REALTIME_COARSE)


async def _in_thread(function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """
    Run `function` in a thread. Cancelled, it still waits for the thread to finish: the caller
    closes descriptors next, and a number closed under a running thread may name another file.
    """
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        raise
