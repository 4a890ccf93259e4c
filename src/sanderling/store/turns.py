"""
Turns of conversations: a run takes its turn as it is recorded, and gives it back as it ends.

Both happen inside the transactions that write the run, so a conversation is never seen with a run's
input and without its output, and it is free for the next run before anybody is told that this one
has ended. A crash leaves nothing to tidy: the turn is over when the run is, and recovery ends runs.

What a run said is added when it is completed or incomplete. A failed or cancelled one adds nothing,
so that the same request can be sent again, and so that no function call is left which nobody was
asked to answer. Its container is remembered all the same: files are in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, exists, insert, select, update

from sanderling.errors import Conflict, InvalidRequest, NotFound
from sanderling.ids import new_id
from sanderling.records import RunStatus
from sanderling.store.tables import (
    conversation_items,
    conversation_turns,
    conversations,
    run_items,
    runs,
)

# Of a run that is at work, or about to be.
UNFINISHED: tuple[RunStatus, ...] = ("queued", "in_progress")

# How every id of a conversation begins. Another is a mistake of its own: a response's id, or one
# that the client made up.
_ID_BEGINS = "conv"
_SHOWN_CHARS_MAX = 100  # of a client's own value
_ADDING: tuple[RunStatus, ...] = ("completed", "incomplete")
_PREFIXES = {
    "message": "msg",
    "code_call": "ci",
    "function_call": "fc",
    "function_output": "fco",
    "reasoning": "rs",
}


@dataclass(frozen=True, slots=True)
class Turn:
    """
    A run's place in a conversation, as it begins.

    seen: where the conversation ended when its items were read for the run.
    file_ids: the files listed with the run's code tool, which stand in no item.
    """

    conversation_id: str
    seen: int
    file_ids: tuple[str, ...] = ()


def unknown(conversation_id: str, param: str | None = None) -> InvalidRequest | NotFound:
    """
    Return the error for a conversation that is not there, or somebody else's. OpenAI's words.

    param: what named it; None: the path.
    """
    if not conversation_id.startswith(_ID_BEGINS):
        param = param or "conversation_id"
        return InvalidRequest(
            f"Invalid '{param}': '{conversation_id[:_SHOWN_CHARS_MAX]}'. "
            f"Expected an ID that begins with '{_ID_BEGINS}'.",
            param=param,
            code="invalid_value",
        )
    return NotFound(f"Conversation with id '{conversation_id}' not found.", param=param)


def locked(param: str) -> Conflict:
    """Return the error for a conversation that a run is at work on. The wording is OpenAI's."""
    return Conflict(
        "Another process is currently operating on this conversation. "
        "Please retry in a few seconds.",
        param=param,
        code="conversation_locked",
    )


def is_at_work(conversation_id: str) -> ColumnElement[bool]:
    """Return the condition that a run is at work on the conversation."""
    return exists(
        select(conversation_turns.c.run_id)
        .join(runs, runs.c.id == conversation_turns.c.run_id)
        .where(
            conversation_turns.c.conversation_id == conversation_id, runs.c.status.in_(UNFINISHED)
        )
    )


def begin_turn(connection: Connection, run_id: str, turn: Turn) -> None:
    """
    Let the run take its turn.

    Raises:
        NotFound: the conversation was deleted since it was read.
        Conflict: another run is at work on it, or has been since.
    """
    position = next_position(connection, turn.conversation_id)
    if position is None:
        raise unknown(turn.conversation_id, "conversation")
    is_taken = connection.execute(select(is_at_work(turn.conversation_id))).scalar()
    if is_taken or position != turn.seen:
        raise locked("conversation")
    connection.execute(
        insert(conversation_turns).values(
            run_id=run_id,
            conversation_id=turn.conversation_id,
            first_position=position,
            file_ids=list(turn.file_ids),
        )
    )


def end_turn(
    connection: Connection, run_id: str, *, status: RunStatus, container_id: str | None
) -> None:
    """Give back the turn of a run that has ended so, if it has one: add what it was about."""
    found = connection.execute(
        select(conversation_turns.c.conversation_id).where(
            conversation_turns.c.run_id == run_id, conversation_turns.c.end_position.is_(None)
        )
    )
    conversation_id = found.scalar()
    if conversation_id is None:
        return  # in no conversation, or in one that was deleted meanwhile
    if status in _ADDING:
        # By direction first: `input` comes before `output` in any alphabet.
        said = connection.execute(
            select(run_items.c.item)
            .where(run_items.c.run_id == run_id)
            .order_by(run_items.c.direction, run_items.c.position)
        )
        items = _renamed(connection, conversation_id, list(said.scalars()))
        append_items(connection, conversation_id, items)
    connection.execute(
        update(conversation_turns)
        .where(conversation_turns.c.run_id == run_id)
        .values(container_id=container_id, end_position=next_position(connection, conversation_id))
    )


def next_position(connection: Connection, conversation_id: str) -> int | None:
    """Return where the next item goes, None if there is no such conversation. Locks its row."""
    found = connection.execute(
        select(conversations.c.next_position)
        .where(conversations.c.id == conversation_id)
        .with_for_update()
    )
    position: int | None = found.scalar()
    return position


def append_items(
    connection: Connection, conversation_id: str, items: Sequence[Mapping[str, Any]]
) -> None:
    """Add stored items at the conversation's end; their ids are new to it."""
    first = next_position(connection, conversation_id)
    assert first is not None, "whoever appends has looked"
    if not items:
        return
    rows = [
        {
            "conversation_id": conversation_id,
            "position": position,
            "item_id": item["id"],
            "item": item,
        }
        for position, item in enumerate(items, first)
    ]
    connection.execute(insert(conversation_items), rows)
    connection.execute(
        update(conversations)
        .where(conversations.c.id == conversation_id)
        .values(next_position=first + len(items))
    )


def item_ids(connection: Connection, conversation_id: str) -> set[str]:
    """Return the ids of all items of the conversation."""
    rows = connection.execute(
        select(conversation_items.c.item_id).where(
            conversation_items.c.conversation_id == conversation_id
        )
    )
    return set(rows.scalars())


def _renamed(
    connection: Connection, conversation_id: str, items: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the items, those under a new id that the conversation has already: sent once more."""
    taken = item_ids(connection, conversation_id)
    for item in items:
        if item["id"] in taken:
            item["id"] = new_id(_PREFIXES[item["type"]])
        taken.add(item["id"])
    return items
