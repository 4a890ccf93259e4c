"""
Runs with what went into them and what came out.

A run's items are rows of their own, because they are listed, paged and read along a chain of runs
without the rest. Input items are written with the run; output items with the events that close
them, so that neither is there without the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal, TypedDict, Unpack

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)

from sanderling.records import Item, Run, RunError, RunStatus, Usage
from sanderling.store.codec import Codec
from sanderling.store.database import Database
from sanderling.store.events import event_rows
from sanderling.store.paging import Listing, Page, Sorting, select_page
from sanderling.store.tables import events, run_items, runs
from sanderling.store.turns import UNFINISHED, Turn, begin_turn, end_turn

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

# Made once, because every batch of events asks and making them takes longer than asking.
_IS_THERE = select(runs.c.sequence).where(runs.c.id == bindparam("run_id"))
_LAST_OUTPUT = select(func.max(run_items.c.position)).where(
    run_items.c.run_id == bindparam("run_id"), run_items.c.direction == "output"
)


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

    async def insert(
        self, run: Run, input_items: tuple[Item, ...] | list[Item], *, turn: Turn | None = None
    ) -> None:
        """
        Record the run and its input items together.

        turn: the run's turn in a conversation.

        Raises:
            NotFound, Conflict: it cannot have this turn any more; nothing was recorded.
        """
        values = {
            **_RUNS.dumps(run),
            "organization_id": run.request.organization_id,
            "previous_run_id": run.request.previous_run_id,
            "stored": run.request.stored,
        }
        items = [
            _item_row(run.id, "input", position, item) for position, item in enumerate(input_items)
        ]

        def work(connection: Connection) -> None:
            connection.execute(insert(runs).values(values))
            if items:
                connection.execute(insert(run_items), items)
            if turn is not None:
                begin_turn(connection, run.id, turn)

        await self._database.write(work)

    async def get(self, organization_id: str, run_id: str) -> Run | None:
        def work(connection: Connection) -> Run | None:
            row = connection.execute(select(runs).where(_owned(organization_id, run_id)))
            found = row.mappings().first()
            return None if found is None else _run(found)

        return await self._database.read(work)

    async def update(self, run_id: str, **changes: Unpack[RunChanges]) -> bool:
        """Set the given values of the run, no others; return whether there is such a run."""
        values = _values(changes)

        def work(connection: Connection) -> bool:
            return _update(connection, run_id, values)

        return await self._database.write(work)

    async def delete(self, organization_id: str, run_id: str) -> bool:
        """
        Delete the run with its items and events; return whether there was one.

        A later run that names it keeps its own items; its chain begins after the gap.
        """

        def work(connection: Connection) -> bool:
            gone = connection.execute(delete(runs).where(_owned(organization_id, run_id)))
            if gone.rowcount:
                connection.execute(delete(events).where(events.c.stream_id == run_id))
            return gone.rowcount == 1

        return await self._database.write(work)

    async def forget_unstored(self, ended_before: float) -> int:
        """Delete the ended runs that were not to be stored, as `delete` does; return how many."""

        def work(connection: Connection) -> int:
            rows = connection.execute(
                delete(runs)
                .where(
                    runs.c.stored.is_(False),
                    runs.c.status.not_in(UNFINISHED),
                    func.coalesce(runs.c.completed_at, runs.c.created_at) < ended_before,
                )
                .returning(runs.c.id)
            )
            ids = list(rows.scalars())
            for run_id in ids:
                connection.execute(delete(events).where(events.c.stream_id == run_id))
            return len(ids)

        return await self._database.write(work)

    async def unfinished(self) -> list[Run]:
        """Return the runs of every organization that have not ended, oldest first."""

        def work(connection: Connection) -> list[Run]:
            rows = connection.execute(
                select(runs).where(runs.c.status.in_(UNFINISHED)).order_by(runs.c.sequence)
            )
            return [_run(row) for row in rows.mappings()]

        return await self._database.read(work)

    async def record(
        self,
        run_id: str,
        first_seq: int,
        batch: Sequence[dict[str, Any]],
        *,
        outputs: Sequence[Item] = (),
        changes: RunChanges | None = None,
    ) -> bool:
        """
        Write what happened in a run: events under first_seq, first_seq + 1, …, the output items
        that they closed, and what they changed in its row; all of it or nothing.

        Returns whether the run is there; of one that was deleted meanwhile nothing is written.

        Raises:
            sqlalchemy.exc.IntegrityError: a number is taken; a stream has one writer at a time.
        """
        values = _values(changes or {})

        def work(connection: Connection) -> bool:
            if connection.execute(_IS_THERE, {"run_id": run_id}).first() is None:
                return False
            if batch:
                connection.execute(insert(events), event_rows(run_id, first_seq, batch))
            if outputs:
                last = connection.execute(_LAST_OUTPUT, {"run_id": run_id}).scalar()
                position = 0 if last is None else last + 1
                rows = [_item_row(run_id, "output", n, i) for n, i in enumerate(outputs, position)]
                connection.execute(insert(run_items), rows)
            if values:
                _update(connection, run_id, values)
            return True

        return await self._database.write(work)

    async def items(self, run_id: str, direction: Direction) -> list[Item]:
        """Return the run's input or output items in their order."""

        def work(connection: Connection) -> list[Item]:
            rows = connection.execute(
                select(run_items.c.item)
                .where(_of(run_id, direction))
                .order_by(run_items.c.position)
            )
            return [_ITEMS.loads(item) for item in rows.scalars()]

        return await self._database.read(work)

    async def page_input(self, run_id: str, page: Page) -> Listing[Item]:
        """Return a page of the run's input items; cursors are item ids."""

        def work(connection: Connection) -> Listing[Item]:
            rows, has_more = select_page(
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

        def work(connection: Connection) -> Item | None:
            found = connection.execute(
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

        def work(connection: Connection) -> list[tuple[Run, list[Item], list[Item]]]:
            found = connection.execute(
                select(runs).join(links, links.c.id == runs.c.id).order_by(links.c.age.desc())
            )
            items: defaultdict[tuple[str, str], list[Item]] = defaultdict(list)
            for row in connection.execute(
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


def _values(changes: RunChanges) -> dict[str, Any]:
    assert set(changes) <= RunChanges.__optional_keys__, f"a run has no such: {changes}"
    values: dict[str, Any] = dict(changes)
    for name in ("usage", "error"):
        if values.get(name) is not None:
            values[name] = asdict(values[name])
    return values


def _update(connection: Connection, run_id: str, values: dict[str, Any]) -> bool:
    result = connection.execute(update(runs).where(runs.c.id == run_id).values(values))
    status = values.get("status")
    if status is not None and status not in UNFINISHED:
        end_turn(connection, run_id, status=status, container_id=values.get("container_id"))
    return result.rowcount == 1


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
