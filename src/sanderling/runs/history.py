"""
What was said before a run: along `previous_run_id`, in a conversation, or nothing.

Both are told alike, as stretches from the oldest to the newest, so that whoever reads them need not
know which it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sanderling.errors import InvalidRequest
from sanderling.records import RunRequest
from sanderling.runs.lifecycle import is_over
from sanderling.runs.mounts import tool_file_ids
from sanderling.store.conversations import Stretch
from sanderling.store.store import Store
from sanderling.store.turns import Turn, locked, unknown


@dataclass(frozen=True, slots=True)
class Past:
    """What was said, oldest first. `turn`: the run's turn, if it is in a conversation."""

    stretches: Sequence[Stretch] = ()
    turn: Turn | None = None


async def past_of(request: RunRequest, store: Store) -> Past:
    """
    Return what was said before the run.

    Raises:
        InvalidRequest, NotFound: it names a run or a conversation that cannot be gone on with.
        Conflict: another run is at work on the conversation.
    """
    if request.conversation_id is not None:
        return await _conversation(request, request.conversation_id, store)
    if request.previous_run_id is not None:
        return await _chain(request, request.previous_run_id, store)
    return Past()


async def _conversation(request: RunRequest, conversation_id: str, store: Store) -> Past:
    history = await store.conversations.history(request.organization_id, conversation_id)
    if history is None:
        raise unknown(conversation_id, "conversation")
    if history.is_at_work:
        raise locked("conversation")
    return Past(history.stretches, Turn(conversation_id, history.end, tool_file_ids(request)))


async def _chain(request: RunRequest, previous: str, store: Store) -> Past:
    chain = await store.runs.chain(request.organization_id, previous)
    if not chain or not chain[-1][0].request.stored:
        raise InvalidRequest(
            f"Previous response with id '{previous}' not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        )
    if not is_over(chain[-1][0].status):
        raise InvalidRequest(
            f"Previous response with id '{previous}' has not ended yet.",
            param="previous_response_id",
        )
    stretches = [
        Stretch((*given, *made), tool_file_ids(run.request), run.container_id)
        for run, given, made in chain
    ]
    oldest = chain[0][0]
    if oldest.request.conversation_id is not None:
        stretches = [*await store.conversations.before_run(oldest.id), *stretches]
    return Past(stretches)
