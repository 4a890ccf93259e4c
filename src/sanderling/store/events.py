"""The log of events: streams of JSON values, numbered without gaps by whoever writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, insert, select

from sanderling.store.database import Database
from sanderling.store.tables import events


def event_rows(
    stream_id: str, first_seq: int, batch: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the rows of `batch` under first_seq, first_seq + 1, …"""
    return [
        {"stream_id": stream_id, "seq": seq, "event": event}
        for seq, event in enumerate(batch, first_seq)
    ]


class EventTable:
    """Every event once, under its stream and number."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, stream_id: str, first_seq: int, batch: list[dict[str, Any]]) -> None:
        """
        Write `batch` under first_seq, first_seq + 1, …: all of it or nothing.

        Raises:
            sqlalchemy.exc.IntegrityError: a number is taken; a stream has one writer at a time.
        """
        if not batch:
            return
        rows = event_rows(stream_id, first_seq, batch)

        def work(connection: Connection) -> None:
            connection.execute(insert(events), rows)

        await self._database.write(work)

    async def after(
        self, stream_id: str, seq: int, limit: int = 1000
    ) -> list[tuple[int, dict[str, Any]]]:
        """Return at most `limit` events numbered above `seq` (-1: from the start), in order."""

        def work(connection: Connection) -> list[tuple[int, dict[str, Any]]]:
            rows = connection.execute(
                select(events.c.seq, events.c.event)
                .where(events.c.stream_id == stream_id, events.c.seq > seq)
                .order_by(events.c.seq)
                .limit(limit)
            )
            return [(row.seq, row.event) for row in rows]

        return await self._database.read(work)

    async def last_seq(self, stream_id: str) -> int:
        """Return the number of the stream's last event, -1 when it has none."""

        def work(connection: Connection) -> int:
            row = connection.execute(
                select(func.max(events.c.seq)).where(events.c.stream_id == stream_id)
            )
            last = row.scalar()
            return -1 if last is None else last

        return await self._database.read(work)
