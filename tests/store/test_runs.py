from __future__ import annotations

import pytest
from sqlalchemy.exc import IntegrityError

from sanderling.records import CodeCallItem, ReasoningItem, RunError, Usage
from tests.store.makers import make_message, make_run


async def test_a_run_comes_back_as_it_was_recorded(store):
    run = make_run(
        status="incomplete",
        container_id="cntr_1",
        completed_at=1001.5,
        usage=Usage(1, 2, 3, 4),
        error=RunError("server_error", "It broke."),
        incomplete_reason="max_turns",
    )
    await store.runs.insert(run, run.request.input)

    assert await store.runs.get("org_a", run.id) == run


async def test_a_foreign_run_behaves_as_absent(store):
    run = make_run()
    await store.runs.insert(run, ())

    assert await store.runs.get("org_b", run.id) is None
    assert not await store.runs.delete("org_b", run.id)
    assert await store.runs.chain("org_b", run.id) == []
    assert await store.runs.get("org_a", run.id) == run


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "completed", "completed_at": 2.5},
        {"container_id": "cntr_9"},
        {"usage": Usage(5, 6)},
        {"error": RunError("server_error", "no")},
        {"incomplete_reason": "content_filter"},
    ],
)
async def test_update_changes_what_it_is_given_and_nothing_else(store, changes):
    run = make_run()
    await store.runs.insert(run, ())

    assert await store.runs.update(run.id, **changes)

    assert await store.runs.get("org_a", run.id) == make_run(
        id=run.id, request={"input": run.request.input}, **changes
    )


async def test_update_can_take_a_value_back(store):
    run = make_run(error=RunError("server_error", "no"), usage=Usage(1))
    await store.runs.insert(run, ())

    await store.runs.update(run.id, error=None, usage=None)

    back = await store.runs.get("org_a", run.id)
    assert (back.error, back.usage) == (None, None)


async def test_update_tells_when_the_run_is_gone(store):
    assert not await store.runs.update("resp_none", status="failed")


async def test_items_come_back_in_the_order_they_were_added(store):
    question, hint = make_message("How much?"), make_message("In euro.", role="developer")
    call = CodeCallItem("ci_1", "call_1", "6*7", "cntr_1", "completed")
    answer = make_message("42", role="assistant")
    run = make_run()
    await store.runs.insert(run, [question, hint])

    assert await store.runs.record(run.id, 0, [], outputs=[ReasoningItem("rs_1", "hm")])
    assert await store.runs.record(run.id, 0, [], outputs=[call, answer])

    assert await store.runs.items(run.id, "input") == [question, hint]
    assert await store.runs.items(run.id, "output") == [ReasoningItem("rs_1", "hm"), call, answer]


async def test_an_item_is_found_in_any_stored_run_of_its_organization(store):
    run, foreign = make_run(), make_run(request={"organization_id": "org_b"})
    unstored = make_run(request={"stored": False})
    question, answer, hidden = make_message("q"), make_message("a"), make_message("h")
    await store.runs.insert(run, [question])
    await store.runs.record(run.id, 0, [], outputs=[answer])
    await store.runs.insert(foreign, [question])
    await store.runs.insert(unstored, [hidden])

    assert await store.runs.find_item("org_a", question.id) == question
    assert await store.runs.find_item("org_a", answer.id) == answer
    assert await store.runs.find_item("org_b", answer.id) is None
    assert await store.runs.find_item("org_a", hidden.id) is None
    assert await store.runs.find_item("org_a", "msg_none") is None


async def test_an_item_that_stands_in_several_runs_is_taken_from_the_newest(store):
    for text in ("old", "new"):
        await store.runs.insert(make_run(), [make_message(text, id="msg_1")])

    assert await store.runs.find_item("org_a", "msg_1") == make_message("new", id="msg_1")


async def test_what_happened_in_a_run_deleted_meanwhile_is_dropped_and_said_so(store):
    run = make_run()
    await store.runs.insert(run, ())
    await store.runs.delete("org_a", run.id)

    assert not await store.runs.record(run.id, 0, [{"n": 0}], outputs=[make_message("late")])
    assert await store.runs.items(run.id, "output") == []
    assert await store.events.last_seq(run.id) == -1


async def test_events_items_and_changes_are_recorded_together_or_not_at_all(store):
    run, answer = make_run(status="in_progress"), make_message("42", role="assistant")
    await store.runs.insert(run, ())
    await store.runs.record(run.id, 0, [{"n": 0}])

    with pytest.raises(IntegrityError):
        await store.runs.record(
            run.id, 0, [{"n": "taken"}], outputs=[answer], changes={"status": "completed"}
        )
    assert await store.runs.items(run.id, "output") == []
    assert (await store.runs.get("org_a", run.id)).status == "in_progress"

    assert await store.runs.record(
        run.id, 1, [{"n": 1}], outputs=[answer], changes={"status": "completed"}
    )
    assert await store.events.after(run.id, -1) == [(0, {"n": 0}), (1, {"n": 1})]
    assert await store.runs.items(run.id, "output") == [answer]
    assert (await store.runs.get("org_a", run.id)).status == "completed"


async def test_deleting_takes_items_and_events_along(store):
    run, other = make_run(), make_run()
    for one in (run, other):
        await store.runs.insert(one, one.request.input)
        await store.events.append(one.id, 0, [{"type": "x"}])

    assert await store.runs.delete("org_a", run.id)

    assert await store.runs.get("org_a", run.id) is None
    assert await store.runs.items(run.id, "input") == []
    assert await store.events.last_seq(run.id) == -1
    assert await store.events.last_seq(other.id) == 0
    assert await store.runs.items(other.id, "input") == list(other.request.input)
    assert not await store.runs.delete("org_a", run.id)


async def test_unfinished_tells_queued_and_running_runs_of_everybody(store):
    wanted = [
        make_run(status="queued"),
        make_run(status="in_progress", request={"organization_id": "org_b"}),
    ]
    ended = [make_run(status=s) for s in ("completed", "incomplete", "failed", "cancelled")]
    for run in (*wanted, *ended):
        await store.runs.insert(run, ())

    assert await store.runs.unfinished() == wanted


async def insert_chain(store, count):
    chain, previous = [], None
    for number in range(count):
        run = make_run(request={"previous_run_id": previous}, created_at=float(number))
        question, answer = make_message(f"q{number}"), make_message(f"a{number}", role="assistant")
        await store.runs.insert(run, [question])
        await store.runs.record(run.id, 0, [], outputs=[answer])
        chain.append((run, [question], [answer]))
        previous = run.id
    return chain


async def test_a_chain_tells_the_whole_conversation_oldest_first(store):
    chain = await insert_chain(store, 4)

    assert await store.runs.chain("org_a", chain[-1][0].id) == chain
    assert await store.runs.chain("org_a", chain[1][0].id) == chain[:2]
    assert await store.runs.chain("org_a", "resp_none") == []


async def test_two_branches_of_a_conversation_do_not_see_each_other(store):
    chain = await insert_chain(store, 2)
    branch = make_run(request={"previous_run_id": chain[0][0].id})
    await store.runs.insert(branch, ())

    assert await store.runs.chain("org_a", branch.id) == [chain[0], (branch, [], [])]


async def test_a_chain_begins_after_a_deleted_run(store):
    chain = await insert_chain(store, 4)
    await store.runs.delete("org_a", chain[1][0].id)

    assert await store.runs.chain("org_a", chain[-1][0].id) == chain[2:]


async def test_a_chain_never_leads_into_another_organization(store):
    chain = await insert_chain(store, 1)
    thief = make_run(request={"organization_id": "org_b", "previous_run_id": chain[0][0].id})
    await store.runs.insert(thief, ())

    assert await store.runs.chain("org_b", thief.id) == [(thief, [], [])]


async def test_a_long_chain_is_read_whole(store):
    chain = await insert_chain(store, 60)

    assert await store.runs.chain("org_a", chain[-1][0].id) == chain


async def test_runs_not_to_be_stored_are_forgotten_some_time_after_their_end(store):
    unstored = {"request": {"stored": False}, "status": "completed"}
    due = make_run(**unstored, completed_at=10.0)
    failed = make_run(request={"stored": False}, status="failed", created_at=9.0)
    kept = [
        make_run(**unstored, completed_at=20.0),
        make_run(request={"stored": False}, status="in_progress", created_at=1.0),
        make_run(status="completed", completed_at=1.0),
    ]
    for run in (due, failed, *kept):
        await store.runs.insert(run, run.request.input)
        await store.events.append(run.id, 0, [{}])

    assert await store.runs.forget_unstored(20.0) == [due, failed]

    assert await store.runs.get("org_a", due.id) is None
    assert await store.runs.get("org_a", failed.id) is None
    assert await store.events.last_seq(due.id) == -1
    for run in kept:
        assert await store.runs.get("org_a", run.id) == run
        assert await store.events.last_seq(run.id) == 0
