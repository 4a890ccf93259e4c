from __future__ import annotations

import pytest

from sanderling.models.scripted import text
from sanderling.records import (
    CodeCallItem,
    MessageItem,
    Run,
    RunError,
    StoredConversation,
    TextPart,
)
from sanderling.runs import events as e
from sanderling.runs.feed import Feed
from sanderling.runs.recovery import recover
from sanderling.store.paging import Page
from sanderling.store.turns import Turn
from tests.containers.makers import ORG
from tests.runs.stage import Stage, readable, request

BEGIN = e.RunChanged("in_progress", 1.0)
MESSAGE = MessageItem("msg_1", "assistant", (TextPart("Hello"),))
ERROR = RunError("server_error", "The server stopped while the run was in progress.")


async def crashed(stage: Stage, *events: e.Event, status: str = "in_progress") -> str:
    """Leave a run as a killed server leaves it: a row, and events up to some moment."""
    run = Run("resp_1", request("?"), status, 1.0)  # type: ignore[arg-type]
    await stage.store.runs.insert(run, run.request.input)
    feed = Feed(stage.store)
    await feed.begin(run.id)
    for event in events:
        await feed.append(run.id, event)
    await feed.flush(run.id)
    await feed.close()
    return run.id


async def followed(stage: Stage, run_id: str) -> list[e.Event]:
    return [event async for _, event in stage.feed.follow(run_id)]


@pytest.mark.parametrize(
    ("events", "closing"),
    [
        ([], []),
        ([BEGIN], []),
        (
            [BEGIN, e.MessageStarted("msg_1"), e.TextAdded("msg_1", "Hel")],
            ["msg_1 ends incomplete Hel"],
        ),
        (
            [BEGIN, e.CodeCallStarted("ci_1", "call_1", "cntr_1"), e.CodeWritten("ci_1", "1")],
            ["ci_1 ends failed None"],
        ),
        (
            [
                BEGIN,
                e.MessageStarted("msg_1"),
                e.TextAdded("msg_1", "Hello"),
                e.MessageFinished(MESSAGE),
            ],
            [],
        ),
    ],
)
async def test_run_that_a_killed_server_left_has_failed_and_leaves_nothing_open(
    stage: Stage, events: list[e.Event], closing: list[str]
) -> None:
    run_id = await crashed(stage, *events)

    assert await recover(stage.store, stage.feed, stage.clock) == 1

    told = await followed(stage, run_id)
    assert told[: len(events)] == events
    assert readable(told[len(events) :]) == [*closing, "run failed server_error"]
    run = await stage.store.runs.get(ORG, run_id)
    assert run is not None
    assert (run.status, run.error, run.completed_at) == ("failed", ERROR, stage.clock.at)
    assert await recover(stage.store, stage.feed, stage.clock) == 0


async def test_run_that_was_only_queued_has_failed_too(stage: Stage) -> None:
    run_id = await crashed(stage, status="queued")

    await recover(stage.store, stage.feed, stage.clock)

    assert readable(await followed(stage, run_id)) == ["run failed server_error"]


async def test_run_whose_last_event_was_written_ended_as_it_says(stage: Stage) -> None:
    end = e.RunChanged("completed", 7.0)
    run_id = await crashed(stage, BEGIN, end)

    await recover(stage.store, stage.feed, stage.clock)

    assert await followed(stage, run_id) == [BEGIN, end]
    run = await stage.store.runs.get(ORG, run_id)
    assert run is not None
    assert (run.status, run.completed_at, run.error) == ("completed", 7.0, None)


@pytest.mark.parametrize("end", [[], [e.RunChanged("completed", 7.0)]])
async def test_container_of_a_run_that_was_left_is_known(stage: Stage, end: list[e.Event]) -> None:
    call = CodeCallItem("ci_1", "call_1", "1", "cntr_1", "completed")
    run_id = await crashed(
        stage, BEGIN, e.CodeCallStarted("ci_1", "call_1", "cntr_1"), e.CodeCallFinished(call), *end
    )

    await recover(stage.store, stage.feed, stage.clock)

    run = await stage.store.runs.get(ORG, run_id)
    assert run is not None
    assert run.container_id == "cntr_1"


async def test_conversation_of_a_run_that_was_left_is_free_again(stage: Stage) -> None:
    await stage.store.conversations.insert(StoredConversation("conv_1", ORG, 1.0), ())
    asked = request("?", conversation_id="conv_1")
    run = Run("resp_1", asked, "in_progress", 1.0)
    await stage.store.runs.insert(run, asked.input, turn=Turn("conv_1", 0))

    await recover(stage.store, stage.feed, stage.clock)

    again, _ = await stage.run([text("Hi")], asked)
    assert again.status == "completed"
    listing = await stage.store.conversations.page("conv_1", Page(order="asc"))
    assert [item.type for item in listing.data] == ["message", "message"]
