"""
Runs with what went into them and what came out.

A run's items are rows of their own, because they are listed, paged and read along a chain of runs
without the rest. Input items are written with the run; output items are added as they finish.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from typing import Any, Literal, TypedDict, Unpack

from sqlalchemy import ColumnElement, RowMapping, delete, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sanderling.records import Item, Run, RunError, RunStatus, Usage
from sanderling.store.codec import Codec
from sanderling.store.database import Database
from sanderling.store.paging import Listing, Page, Sorting, select_page
from sanderling.store.tables import events, run_items, runs

Direction = Literal["input", "output"]

_ITEMS = Codec[Item](Item)
_RUNS = Codec[Run](Run)
_COLUMNS = (
    "id",
    "status",
    "created_at",
    "completed_at",
    "container_id",
    "request",
    "usage",
    "error",
    "incomplete_reason",
)
_UNFINISHED = ("queued", "in_progress")


class RunChanges(TypedDict, total=False):
    """What may change in a run after it was recorded."""

    status: RunStatus
    container_id: str | None
    completed_at: float | None
    usage: Usage | None
    error: RunError | None
    incomplete_reason: str | None


class RunTable:
    """Every run, its items, and the chains that `previous_run_id` makes of them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, run: Run, input_items: tuple[Item, ...] | list[Item]) -> None:
        """Record the run and its input items together."""
        values = {
            **_RUNS.dumps(run),
            "organization_id": run.request.organization_id,
            "previous_run_id": run.request.previous_run_id,
            "stored": run.request.stored,
        }
        items = [
            _item_row(run.id, "input", position, item) for position, item in enumerate(input_items)
        ]

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(insert(runs).values(values))
            if items:
                await connection.execute(insert(run_items), items)

        await self._database.write(work)

    async def get(self, organization_id: str, run_id: str) -> Run | None:
        async def work(connection: AsyncConnection) -> Run | None:
            row = await connection.execute(select(runs).where(_owned(organization_id, run_id)))
            found = row.mappings().first()
            return None if found is None else _run(found)

        return await self._database.read(work)

    async def update(self, run_id: str, **changes: Unpack[RunChanges]) -> bool:
        """Set the given values of the run, no others; return whether there is such a run."""
        assert set(changes) <= RunChanges.__optional_keys__, f"a run has no such: {changes}"
        values: dict[str, Any] = dict(changes)
        for name in ("usage", "error"):
            if values.get(name) is not None:
                values[name] = asdict(values[name])

        async def work(connection: AsyncConnection) -> bool:
            result = await connection.execute(
                update(runs).where(runs.c.id == run_id).values(values)
            )
            return result.rowcount == 1

        return await self._database.write(work)

    async def delete(self, organization_id: str, run_id: str) -> bool:
        """
        Delete the run with its items and events; return whether there was one.

        A later run that names it keeps its own items; its chain begins after the gap.
        """

        async def work(connection: AsyncConnection) -> bool:
            gone = await connection.execute(delete(runs).where(_owned(organization_id, run_id)))
            if gone.rowcount:
                await connection.execute(delete(events).where(events.c.stream_id == run_id))
            return gone.rowcount == 1

        return await self._database.write(work)

    async def forget_unstored(self, ended_before: float) -> int:
        """Delete the ended runs that were not to be stored, as `delete` does; return how many."""

        async def work(connection: AsyncConnection) -> int:
            rows = await connection.execute(
                delete(runs)
                .where(
                    runs.c.stored.is_(False),
                    runs.c.status.not_in(_UNFINISHED),
                    func.coalesce(runs.c.completed_at, runs.c.created_at) < ended_before,
                )
                .returning(runs.c.id)
            )
            ids = list(rows.scalars())
            for run_id in ids:
                await connection.execute(delete(events).where(events.c.stream_id == run_id))
            return len(ids)

        return await self._database.write(work)

    async def unfinished(self) -> list[Run]:
        """Return the runs of every organization that have not ended, oldest first."""

        async def work(connection: AsyncConnection) -> list[Run]:
            rows = await connection.execute(
                select(runs).where(runs.c.status.in_(_UNFINISHED)).order_by(runs.c.sequence)
            )
            return [_run(row) for row in rows.mappings()]

        return await self._database.read(work)

    async def add_output(self, run_id: str, item: Item) -> bool:
        """Record one more output item; return whether the run is there, not deleted meanwhile."""

        async def work(connection: AsyncConnection) -> bool:
            run = await connection.execute(select(runs.c.sequence).where(runs.c.id == run_id))
            if run.first() is None:
                return False
            last = await connection.execute(
                select(func.max(run_items.c.position)).where(_of(run_id, "output"))
            )
            position = last.scalar()
            row = _item_row(run_id, "output", 0 if position is None else position + 1, item)
            await connection.execute(insert(run_items).values(row))
            return True

        return await self._database.write(work)

    async def items(self, run_id: str, direction: Direction) -> list[Item]:
        """Return the run's input or output items in their order."""

        async def work(connection: AsyncConnection) -> list[Item]:
            rows = await connection.execute(
                select(run_items.c.item)
                .where(_of(run_id, direction))
                .order_by(run_items.c.position)
            )
            return [_ITEMS.loads(item) for item in rows.scalars()]

        return await self._database.read(work)

    async def page_input(self, run_id: str, page: Page) -> Listing[Item]:
        """Return a page of the run's input items; cursors are item ids."""

        async def work(connection: AsyncConnection) -> Listing[Item]:
            rows, has_more = await select_page(
                connection,
                run_items,
                page,
                sorting=Sorting((run_items.c.position,), run_items.c.item_id),
                scope=_of(run_id, "input"),
            )
            return Listing([_ITEMS.loads(row["item"]) for row in rows], has_more)

        return await self._database.read(work)

    async def find_item(self, organization_id: str, item_id: str) -> Item | None:
        """Return the item from whichever stored run of the organization it is in, newest first."""

        async def work(connection: AsyncConnection) -> Item | None:
            found = await connection.execute(
                select(run_items.c.item)
                .join(runs, runs.c.id == run_items.c.run_id)
                .where(
                    run_items.c.item_id == item_id,
                    runs.c.organization_id == organization_id,
                    runs.c.stored,
                )
                .order_by(runs.c.sequence.desc(), run_items.c.direction.desc())
                .limit(1)
            )
            item = found.scalar()
            return None if item is None else _ITEMS.loads(item)

        return await self._database.read(work)

    async def chain(
        self, organization_id: str, run_id: str
    ) -> list[tuple[Run, list[Item], list[Item]]]:
        """
        Return the run and all that came before it, oldest first, with input and output items.

        The chain ends where a run was deleted or is not the organization's; it is empty when
        `run_id` is.
        """
        newest = (
            select(runs.c.id, runs.c.previous_run_id, literal(0).label("age"))
            .where(_owned(organization_id, run_id))
            .cte("links", recursive=True)
        )
        links = newest.union_all(
            select(runs.c.id, runs.c.previous_run_id, newest.c.age + 1)
            .join(newest, runs.c.id == newest.c.previous_run_id)
            .where(runs.c.organization_id == organization_id)
        )

        async def work(connection: AsyncConnection) -> list[tuple[Run, list[Item], list[Item]]]:
            found = await connection.execute(
                select(runs).join(links, links.c.id == runs.c.id).order_by(links.c.age.desc())
            )
            items: defaultdict[tuple[str, str], list[Item]] = defaultdict(list)
            for row in await connection.execute(
                select(run_items.c.run_id, run_items.c.direction, run_items.c.item)
                .join(links, links.c.id == run_items.c.run_id)
                .order_by(run_items.c.position)
            ):
                items[row.run_id, row.direction].append(_ITEMS.loads(row.item))
            return [
                (run, items[run.id, "input"], items[run.id, "output"])
                for run in map(_run, found.mappings())
            ]

        return await self._database.read(work)


def _owned(organization_id: str, run_id: str) -> ColumnElement[bool]:
    return (runs.c.id == run_id) & (runs.c.organization_id == organization_id)


def _of(run_id: str, direction: Direction) -> ColumnElement[bool]:
    return (run_items.c.run_id == run_id) & (run_items.c.direction == direction)


def _item_row(run_id: str, direction: Direction, position: int, item: Item) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "direction": direction,
        "position": position,
        "item_id": item.id,
        "item": _ITEMS.dumps(item),
    }


def _run(row: RowMapping) -> Run:
    return _RUNS.loads({name: row[name] for name in _COLUMNS})
