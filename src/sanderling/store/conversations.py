"""
Conversations and their items.

The items are copies: they stay when the response that they come from is deleted or was never to be
stored. What a run of a conversation brought beside its items is a turn; see `turns.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Text,
    cast,
    delete,
    func,
    insert,
    select,
    true,
    update,
)

from sanderling.errors import InvalidRequest
from sanderling.records import Item, StoredConversation
from sanderling.store.codec import Codec
from sanderling.store.database import Database
from sanderling.store.paging import Listing, Page, Sorting, select_page
from sanderling.store.tables import conversation_items, conversation_turns, conversations
from sanderling.store.turns import (
    append_items,
    is_at_work,
    item_ids,
    locked,
    next_position,
    unknown,
)

# All of them are read for every run, and few models take a tenth of it.
ITEMS_MAX = 10_000
# Of their JSON, which takes five times the memory while it is read and shown.
CHARS_MAX = 64 << 20

_ITEMS = Codec[Item](Item)
_RECORDS = Codec[StoredConversation](StoredConversation)
_COLUMNS = ("id", "organization_id", "created_at")


@dataclass(frozen=True, slots=True)
class Stretch:
    """
    Items that came together: those of one run, or those that a client added between two.

    file_ids: the files listed with the run's code tool. container_id: where its code ran.
    """

    items: tuple[Item, ...]
    file_ids: tuple[str, ...] = ()
    container_id: str | None = None


@dataclass(frozen=True, slots=True)
class History:
    """
    A conversation as a run finds it.

    end: where the next item would go. is_at_work: another run has its turn.
    """

    stretches: tuple[Stretch, ...]
    end: int
    is_at_work: bool


class ConversationTable:
    """Every conversation, and what was said in it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, conversation: StoredConversation, items: Sequence[Item]) -> None:
        """
        Record the conversation with its first items.

        Raises:
            InvalidRequest: two of them have one id.
        """
        columns, record = _split(conversation)
        dumped = _dumped(items)

        def work(connection: Connection) -> None:
            connection.execute(
                insert(conversations).values({**columns, "record": record, "next_position": 0})
            )
            append_items(connection, conversation.id, dumped)

        await self._database.write(work)

    async def get(self, organization_id: str, conversation_id: str) -> StoredConversation | None:
        def work(connection: Connection) -> StoredConversation | None:
            return _get(connection, organization_id, conversation_id)

        return await self._database.read(work)

    async def update(
        self, organization_id: str, conversation_id: str, metadata: dict[str, str]
    ) -> StoredConversation | None:
        """Put `metadata` in the place of what there is; return the conversation as it is then."""

        def work(connection: Connection) -> StoredConversation | None:
            found = _get(connection, organization_id, conversation_id)
            if found is None:
                return None
            changed = replace(found, metadata=metadata)
            connection.execute(
                update(conversations)
                .where(_owned(organization_id, conversation_id))
                .values(record=_split(changed)[1])
            )
            return changed

        return await self._database.write(work)

    async def delete(self, organization_id: str, conversation_id: str) -> bool:
        """
        Delete the conversation with its items; return whether there was one.

        A run that is at work on it goes on, and finds nothing to add its items to.
        """

        def work(connection: Connection) -> bool:
            gone = connection.execute(
                delete(conversations).where(_owned(organization_id, conversation_id))
            )
            return gone.rowcount == 1

        return await self._database.write(work)

    async def add(self, organization_id: str, conversation_id: str, items: Sequence[Item]) -> None:
        """
        Add items at the end.

        Raises:
            NotFound: there is no such conversation.
            Conflict: a run is at work on it, whose own items come first.
            InvalidRequest: an id is there already, or there would be more than ITEMS_MAX of them
                or CHARS_MAX in them.
        """
        dumped = _dumped(items)

        def work(connection: Connection) -> None:
            next_position(connection, conversation_id)
            if _get(connection, organization_id, conversation_id) is None:
                raise unknown(conversation_id)
            if connection.execute(select(is_at_work(conversation_id))).scalar():
                raise locked("conversation_id")
            _refuse_present(connection, conversation_id, dumped)
            _refuse_full(connection, conversation_id, dumped, param="items")
            append_items(connection, conversation_id, dumped)

        await self._database.write(work)

    async def item(self, organization_id: str, conversation_id: str, item_id: str) -> Item | None:
        def work(connection: Connection) -> Item | None:
            found = connection.execute(
                select(conversation_items.c.item)
                .join(conversations, conversations.c.id == conversation_items.c.conversation_id)
                .where(_owned(organization_id, conversation_id), _is(item_id))
            )
            item = found.scalar()
            return None if item is None else _ITEMS.loads(item)

        return await self._database.read(work)

    async def delete_item(self, organization_id: str, conversation_id: str, item_id: str) -> bool:
        """Return whether there was such an item; what comes after it stays where it is."""

        def work(connection: Connection) -> bool:
            if _get(connection, organization_id, conversation_id) is None:
                return False
            gone = connection.execute(
                delete(conversation_items).where(_of(conversation_id), _is(item_id))
            )
            return gone.rowcount == 1

        return await self._database.write(work)

    async def page(self, conversation_id: str, page: Page) -> Listing[Item]:
        """Return a page of the conversation's items; cursors are item ids."""

        def work(connection: Connection) -> Listing[Item]:
            rows, has_more = select_page(
                connection,
                conversation_items,
                page,
                sorting=Sorting((conversation_items.c.position,), conversation_items.c.item_id),
                scope=_of(conversation_id),
            )
            return Listing([_ITEMS.loads(row["item"]) for row in rows], has_more)

        return await self._database.read(work)

    async def find_item(self, organization_id: str, item_id: str) -> Item | None:
        """Return the item from the newest conversation of the organization that it is in."""

        def work(connection: Connection) -> Item | None:
            found = connection.execute(
                select(conversation_items.c.item)
                .join(conversations, conversations.c.id == conversation_items.c.conversation_id)
                .where(conversations.c.organization_id == organization_id, _is(item_id))
                .order_by(conversations.c.sequence.desc())
                .limit(1)
            )
            item = found.scalar()
            return None if item is None else _ITEMS.loads(item)

        return await self._database.read(work)

    async def history(self, organization_id: str, conversation_id: str) -> History | None:
        """
        Return all that was said, for a run that is about to begin.

        Raises:
            InvalidRequest: the conversation has ITEMS_MAX items, or CHARS_MAX.
        """

        def work(connection: Connection) -> History | None:
            if _get(connection, organization_id, conversation_id) is None:
                return None
            _refuse_full(connection, conversation_id, [{}], param="conversation")
            end = next_position(connection, conversation_id)
            busy = connection.execute(select(is_at_work(conversation_id))).scalar()
            stretches = _stretches(connection, conversation_id)
            return History(stretches, end or 0, bool(busy))

        return await self._database.read(work)

    async def before_run(self, run_id: str) -> tuple[Stretch, ...]:
        """Return what was said in the run's conversation before its turn; nothing if it is gone."""

        def work(connection: Connection) -> tuple[Stretch, ...]:
            found = connection.execute(
                select(conversation_turns).where(conversation_turns.c.run_id == run_id)
            )
            turn = found.mappings().first()
            return () if turn is None else _stretches(connection, turn["conversation_id"], turn)

        return await self._database.read(work)


def _split(conversation: StoredConversation) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the conversation's values that have a column of their own, and all others."""
    record = _RECORDS.dumps(conversation)
    return {name: record.pop(name) for name in _COLUMNS}, record


def _get(
    connection: Connection, organization_id: str, conversation_id: str
) -> StoredConversation | None:
    found = connection.execute(
        select(conversations).where(_owned(organization_id, conversation_id))
    )
    row = found.mappings().first()
    if row is None:
        return None
    return _RECORDS.loads({**row["record"], **{name: row[name] for name in _COLUMNS}})


def _owned(organization_id: str, conversation_id: str) -> ColumnElement[bool]:
    return (conversations.c.id == conversation_id) & (
        conversations.c.organization_id == organization_id
    )


def _of(conversation_id: str) -> ColumnElement[bool]:
    return conversation_items.c.conversation_id == conversation_id


def _is(item_id: str) -> ColumnElement[bool]:
    return conversation_items.c.item_id == item_id


def _dumped(items: Sequence[Item]) -> list[dict[str, Any]]:
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise InvalidRequest(
                f"Item with id '{item.id}' is given twice. Leave the id out to add it twice.",
                param="items",
                code="invalid_value",
            )
        seen.add(item.id)
    return [_ITEMS.dumps(item) for item in items]


def _refuse_present(
    connection: Connection, conversation_id: str, items: Sequence[dict[str, Any]]
) -> None:
    there = item_ids(connection, conversation_id).intersection(item["id"] for item in items)
    if there:
        raise InvalidRequest(
            f"Item with id '{min(there)}' is in this conversation already. Leave the id out to add "
            "it once more.",
            param="items",
            code="invalid_value",
        )


def _refuse_full(
    connection: Connection, conversation_id: str, items: Sequence[dict[str, Any]], *, param: str
) -> None:
    size = func.coalesce(func.sum(func.length(cast(conversation_items.c.item, Text))), 0)
    there = select(func.count(), size).where(_of(conversation_id))
    count, chars = connection.execute(there).one()
    more = sum(len(json.dumps(item, ensure_ascii=False)) for item in items)
    if count + len(items) > ITEMS_MAX or int(chars) + more > CHARS_MAX:
        raise InvalidRequest(
            f"Conversation with id '{conversation_id}' is full: it may have {ITEMS_MAX} items and "
            f"{CHARS_MAX} characters. Delete some of them, or begin another conversation.",
            param=param,
            code="conversation_full",
        )


def _stretches(
    connection: Connection, conversation_id: str, upto: RowMapping | None = None
) -> tuple[Stretch, ...]:
    """Return what was said, or only what was said before the turn `upto`."""
    earlier = conversation_turns.c.sequence < upto["sequence"] if upto else true()
    turns = connection.execute(
        select(conversation_turns)
        .where(conversation_turns.c.conversation_id == conversation_id, earlier)
        .order_by(conversation_turns.c.sequence)
    )
    before = conversation_items.c.position < upto["first_position"] if upto else true()
    rows = connection.execute(
        select(conversation_items.c.position, conversation_items.c.item)
        .where(_of(conversation_id), before)
        .order_by(conversation_items.c.position)
    )
    items = [(row.position, _ITEMS.loads(row.item)) for row in rows]
    return tuple(_divided(list(turns.mappings()), items))


def _divided(turns: Sequence[RowMapping], items: Sequence[tuple[int, Item]]) -> Iterator[Stretch]:
    start = 0
    for turn in turns:
        added = _from(items, start, turn["first_position"])
        if added:
            yield Stretch(added)
        end = turn["first_position"] if turn["end_position"] is None else turn["end_position"]
        own = _from(items, turn["first_position"], end)
        yield Stretch(own, tuple(turn["file_ids"]), turn["container_id"])
        start = end
    rest = tuple(item for position, item in items if position >= start)
    if rest:
        yield Stretch(rest)


def _from(items: Sequence[tuple[int, Item]], first: int, end: int) -> tuple[Item, ...]:
    return tuple(item for position, item in items if first <= position < end)
