from __future__ import annotations

import pytest

from sanderling.errors import Conflict, InvalidRequest, NotFound
from sanderling.ids import new_id
from sanderling.records import StoredConversation
from sanderling.store import conversations
from sanderling.store.conversations import Stretch
from sanderling.store.turns import Turn
from tests.store.makers import make_message, make_run


async def make(store, *items) -> str:
    made = StoredConversation(new_id("conv"), "org_a", 1000.0, {"a": "b"})
    await store.conversations.insert(made, items)
    assert await store.conversations.get("org_a", made.id) == made
    return made.id


async def begin(store, conversation_id: str, *, file_ids=(), seen: int | None = None):
    """Let a run take its turn; return the run."""
    history = await store.conversations.history("org_a", conversation_id)
    run = make_run(status="in_progress", request={"conversation_id": conversation_id})
    turn = Turn(conversation_id, history.end if seen is None else seen, file_ids)
    await store.runs.insert(run, run.request.input, turn=turn)
    return run


async def end(store, run, *outputs, status: str = "completed", container_id: str | None = None):
    changes = {"status": status, "container_id": container_id}
    assert await store.runs.record(run.id, 0, [], outputs=outputs, changes=changes)


async def stretches(store, conversation_id: str) -> list[Stretch]:
    return list((await store.conversations.history("org_a", conversation_id)).stretches)


async def test_history_tells_what_came_with_which_run_and_what_between(store):
    before, between, after = make_message("a"), make_message("b"), make_message("c")
    conversation_id = await make(store, before)
    first = await begin(store, conversation_id, file_ids=("file-1",))
    answer = make_message("Yes.", role="assistant")
    await end(store, first, answer, container_id="cntr_1")
    await store.conversations.add("org_a", conversation_id, [between])
    failed = await begin(store, conversation_id, file_ids=("file-2",))
    await end(store, failed, make_message("Half", role="assistant"), status="failed")
    await store.conversations.add("org_a", conversation_id, [after])

    assert await stretches(store, conversation_id) == [
        Stretch((before,)),
        Stretch((*first.request.input, answer), ("file-1",), "cntr_1"),
        Stretch((between,)),
        Stretch((), ("file-2",)),
        Stretch((after,)),
    ]
    assert await store.conversations.before_run(failed.id) == (
        Stretch((before,)),
        Stretch((*first.request.input, answer), ("file-1",), "cntr_1"),
        Stretch((between,)),
    )


async def test_place_of_a_deleted_item_is_not_given_to_another_run(store):
    conversation_id = await make(store)
    first = await begin(store, conversation_id)
    answer = make_message("Yes.", role="assistant")
    await end(store, first, answer, container_id="cntr_1")
    added = make_message("b")

    assert await store.conversations.delete_item("org_a", conversation_id, answer.id)
    await store.conversations.add("org_a", conversation_id, [added])

    assert await stretches(store, conversation_id) == [
        Stretch(first.request.input, (), "cntr_1"),
        Stretch((added,)),
    ]


@pytest.mark.parametrize(
    ("status", "count"), [("completed", 2), ("incomplete", 2), ("failed", 0), ("cancelled", 0)]
)
async def test_turn_ends_once_with_the_run(store, status, count):
    conversation_id = await make(store)
    run = await begin(store, conversation_id)
    assert (await store.conversations.history("org_a", conversation_id)).is_at_work

    await end(store, run, make_message("Yes.", role="assistant"), status=status)
    await store.runs.update(run.id, status=status)

    history = await store.conversations.history("org_a", conversation_id)
    assert (history.is_at_work, history.end) == (False, count)


async def test_turn_is_not_given_where_it_would_be_out_of_order(store):
    conversation_id = await make(store, make_message("a"))
    with pytest.raises(Conflict, match="Another process"):
        await begin(store, conversation_id, seen=0)  # an item came since it was read
    run = await begin(store, conversation_id)
    with pytest.raises(Conflict, match="Another process"):
        await begin(store, conversation_id)
    with pytest.raises(Conflict, match="Another process"):
        await store.conversations.add("org_a", conversation_id, [make_message("b")])

    await store.runs.delete("org_a", run.id)

    assert await store.conversations.delete("org_a", conversation_id)
    with pytest.raises(NotFound):
        await store.runs.insert(make_run(), (), turn=Turn(conversation_id, 1))
    assert await store.runs.unfinished() == []


async def test_full_conversation_takes_no_more(store, monkeypatch):
    monkeypatch.setattr(conversations, "ITEMS_MAX", 3)
    conversation_id = await make(store, make_message("a"), make_message("b"))

    with pytest.raises(InvalidRequest, match="is full: it may have 3 items"):
        await store.conversations.add(
            "org_a", conversation_id, [make_message("c"), make_message("d")]
        )

    await store.conversations.add("org_a", conversation_id, [make_message("c")])
    with pytest.raises(InvalidRequest, match="is full"):
        await store.conversations.history("org_a", conversation_id)


async def test_a_conversation_has_so_many_characters_and_no_more(store, monkeypatch):
    monkeypatch.setattr(conversations, "CHARS_MAX", 1000)
    conversation_id = await make(store, make_message("a" * 300))

    with pytest.raises(InvalidRequest, match="and 1000 characters"):
        await store.conversations.add("org_a", conversation_id, [make_message("b" * 600)])

    await begin(store, conversation_id)
    long_id = await make(store, make_message("ä" * 1000))
    with pytest.raises(InvalidRequest, match="is full"):
        await store.conversations.history("org_a", long_id)


async def test_deletion_takes_items_and_turns_along(store):
    item = make_message("a")
    conversation_id = await make(store, item)
    run = await begin(store, conversation_id)

    assert not await store.conversations.delete("org_b", conversation_id)
    assert await store.conversations.delete("org_a", conversation_id)
    await end(store, run, make_message("Yes.", role="assistant"))

    assert not await store.conversations.delete("org_a", conversation_id)
    assert await store.conversations.find_item("org_a", item.id) is None
    assert await store.conversations.before_run(run.id) == ()
    assert (await store.runs.get("org_a", run.id)).status == "completed"
