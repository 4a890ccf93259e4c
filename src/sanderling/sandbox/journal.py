"""
What happened in each execution of a container, kept so that nobody has to be listening.

A cell runs on while its listener is away. Everything it shows is written here once; every listener
reads from here at its own pace, from the start or from where it left off, so a server that lost its
connection asks again with the same execution id and misses nothing. Who stays away is noticed.
Bounded: the last executions of a container are kept up to a number and a size, and those of all
containers together up to a size (`Shelf`); the oldest go first, a running one never.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import assert_never

from sanderling.errors import Conflict, SanderlingError
from sanderling.sandbox.base import Ended, Error, Happening, Image, Logs, Result

EXECUTIONS_MAX = 64  # per container; a run asks again within seconds, not after 64 more cells
BYTES_MAX = 32 << 20  # per container, finished executions together
FORGOTTEN_MAX = 1000  # per container: ids of dropped executions, so that none is run twice
SHELF_BYTES_MAX = 512 << 20  # of all containers; more than a thousand that show a picture each
# What one Logs costs beside its text; stops a million one-character prints from costing 100 MiB.
_OVERHEAD_BYTES = 160
_MERGED_CHARS_MAX = 32 << 10


class Journal:
    """The happenings of one execution, in order. Ends with an Ended, or with why it never ran."""

    def __init__(
        self,
        on_deserted: Callable[[], None] | None = None,
        on_over: Callable[[], None] | None = None,
    ) -> None:
        """
        on_deserted: called each time the last follower leaves before the end.
        on_over: called at the end, once.
        """
        self.bytes = 0
        self.followers = 0
        self._on_deserted = on_deserted
        self._on_over = on_over
        self._happenings: list[Happening] = []
        self._taken = 0  # how many of them somebody has seen; those never change again
        self._failure: SanderlingError | None = None
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def is_over(self) -> bool:
        if self._failure is not None:
            return True
        return bool(self._happenings) and isinstance(self._happenings[-1], Ended)

    def append(self, happening: Happening) -> None:
        """Add what happened and wake everyone who follows. Nothing may follow an Ended."""
        assert not self.is_over
        merged = self._merged(happening)
        if merged is not None:
            self.bytes += size_of(merged) - size_of(self._happenings[-1])
            self._happenings[-1] = merged
        else:
            self.bytes += size_of(happening)
            self._happenings.append(happening)
        self._tell()

    def fail(self, error: SanderlingError) -> None:
        """Say that it was not run, and why; everyone who follows gets the error."""
        assert not self.is_over
        self._failure = error
        self._tell()

    def _tell(self) -> None:
        if self.is_over and self._on_over is not None:
            self._on_over()
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def follow(self, after: int = -1) -> AsyncGenerator[tuple[int, Happening], None]:
        """
        Yield (sequence, happening) for all after sequence `after`, until the Ended.

        Raises:
            SanderlingError: the execution was not run, and will not be.
        """
        position = max(0, after + 1)
        self.followers += 1
        try:
            while True:
                while position < len(self._happenings):
                    happening = self._happenings[position]
                    self._taken = max(self._taken, position + 1)
                    yield position, happening
                    position += 1
                if self._failure is not None:
                    raise self._failure
                if self.is_over:
                    return
                await self._news()
        finally:
            self.followers -= 1
            if self.followers == 0 and not self.is_over and self._on_deserted is not None:
                self._on_deserted()

    async def _news(self) -> None:
        """Wait until something is added."""
        news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(news)
        try:
            await news
        finally:
            self._waiting.discard(news)

    def _merged(self, happening: Happening) -> Logs | None:
        """Adjacent text of one stream is one entry, as long as nobody has seen the first half."""
        if self._taken >= len(self._happenings) or not isinstance(happening, Logs):
            return None
        last = self._happenings[-1]
        if not isinstance(last, Logs) or last.stream != happening.stream:
            return None
        if len(last.text) + len(happening.text) > _MERGED_CHARS_MAX:
            return None
        return Logs(last.stream, last.text + happening.text)


class Shelf:
    """The journals of all containers whose executions are over; past its size the oldest go."""

    def __init__(self, bytes_max: int = SHELF_BYTES_MAX) -> None:
        self._bytes_left = bytes_max
        self._drops: dict[Journal, Callable[[], None]] = {}  # in the order they were put here

    def put(self, journal: Journal, drop: Callable[[], None]) -> None:
        """
        Take a journal that will not grow any more; others may have to go for it.

        drop: called when its time has come; it takes the journal away.
        """
        self._drops[journal] = drop
        self._bytes_left -= journal.bytes
        while self._bytes_left < 0 and len(self._drops) > 1:
            next(iter(self._drops.values()))()

    def take(self, journal: Journal) -> None:
        """Make its room free, if it is here."""
        if self._drops.pop(journal, None) is not None:
            self._bytes_left += journal.bytes


class Journals:
    """The journals of one container, by execution id."""

    def __init__(
        self,
        shelf: Shelf | None = None,
        *,
        executions_max: int = EXECUTIONS_MAX,
        bytes_max: int = BYTES_MAX,
    ) -> None:
        """shelf: for those that are over, shared by all containers; None: of its own."""
        self._shelf = shelf or Shelf()
        self._executions_max = executions_max
        self._bytes_max = bytes_max
        self._kept: dict[str, Journal] = {}
        self._forgotten: dict[str, None] = {}

    def get(self, execution_id: str) -> Journal | None:
        """
        Return the journal of an execution, or None if there never was one of that id.

        Raises:
            Conflict: there was one, and it is no longer kept.
        """
        if execution_id in self._forgotten:
            raise Conflict(f"The record of execution '{execution_id}' is no longer kept.")
        return self._kept.get(execution_id)

    def open(self, execution_id: str, on_deserted: Callable[[], None] | None = None) -> Journal:
        """Begin the journal of a new execution; drop old ones where there are too many."""
        assert execution_id not in self._kept
        assert execution_id not in self._forgotten
        journal = self._kept[execution_id] = Journal(on_deserted, lambda: self._put(execution_id))
        self._drop_oldest()
        return journal

    def close(self) -> None:
        """Keep none any more; for the end."""
        for journal in self._kept.values():
            self._shelf.take(journal)
        self._kept.clear()

    def _put(self, execution_id: str) -> None:
        self._shelf.put(self._kept[execution_id], lambda: self._drop(execution_id))

    def _drop(self, execution_id: str) -> None:
        self._shelf.take(self._kept.pop(execution_id))
        self._forgotten[execution_id] = None
        while len(self._forgotten) > FORGOTTEN_MAX:
            del self._forgotten[next(iter(self._forgotten))]

    def _drop_oldest(self) -> None:
        total = sum(journal.bytes for journal in self._kept.values())
        if len(self._kept) <= self._executions_max and total <= self._bytes_max:
            return  # nearly always
        finished = [(key, value) for key, value in self._kept.items() if value.is_over]
        total = sum(journal.bytes for _, journal in finished)
        for execution_id, journal in finished:
            if len(self._kept) <= self._executions_max and total <= self._bytes_max:
                break
            self._drop(execution_id)
            total -= journal.bytes


def size_of(happening: Happening) -> int:
    """About how many bytes of memory a happening takes."""
    match happening:
        case Logs(_, text) | Result(text):
            return _OVERHEAD_BYTES + len(text)
        case Image(_, data, _, _):
            return _OVERHEAD_BYTES + len(data)
        case Error(name, message, traceback):
            return _OVERHEAD_BYTES + len(name) + len(message) + len(traceback)
        case Ended():
            changed = sum(
                len(file.path) + len(file.moved_from or "") + _OVERHEAD_BYTES
                for file in happening.changed
            )
            return _OVERHEAD_BYTES + changed + sum(len(path) for path in happening.removed)
    assert_never(happening)
