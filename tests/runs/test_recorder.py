from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sanderling.records import MessageItem, Run, RunError, TextPart
from sanderling.runs import events as e
from sanderling.runs import feed as feed_module
from sanderling.runs.feed import Feed
from sanderling.runs.recorder import Recorder
from sanderling.store.store import Store
from tests.containers.makers import ORG
from tests.runs.stage import readable, request

MESSAGE = MessageItem("msg_1", "assistant", (TextPart("Hi"),))


async def make(store: Store, feed: Feed) -> Recorder:
    run = Run("resp_1", request("?"), "in_progress", 1.0)
    await store.runs.insert(run, [])
    await feed.begin(run.id)
    return Recorder(run, feed=feed)


async def test_event_being_recorded_when_the_run_is_cancelled_is_recorded_whole(
    store: Store, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "AHEAD_MAX", 2)
    record, may_write = store.runs.record, asyncio.Event()

    async def slow(*args: Any, **kwargs: Any) -> bool:
        await may_write.wait()
        return await record(*args, **kwargs)

    monkeypatch.setattr(store.runs, "record", slow)
    recorder = await make(store, feed)
    await recorder.record(e.MessageStarted("msg_1"))
    task = asyncio.create_task(recorder.record(e.MessageFinished(MESSAGE)))
    await asyncio.wait([task], timeout=0.05)  # held back, because the disk stands still
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    may_write.set()
    await recorder.end("cancelled", 2.0, usage=None, error=None)

    told = [event async for _, event in feed.follow("resp_1")]
    assert readable(told) == ["msg_1 begins", "msg_1 ends completed Hi", "run cancelled"]
    assert await store.runs.items("resp_1", "output") == [MESSAGE]


async def test_item_is_stored_before_its_last_event_is_told(store: Store, feed: Feed) -> None:
    recorder = await make(store, feed)
    follower = feed.follow("resp_1")
    await recorder.record(e.MessageStarted("msg_1"))
    await anext(follower)

    await recorder.record(e.MessageFinished(MESSAGE))
    await anext(follower)

    assert await store.runs.items("resp_1", "output") == [MESSAGE]


async def test_run_ends_once(store: Store, feed: Feed) -> None:
    recorder = await make(store, feed)
    await recorder.record(e.RunChanged("completed", 2.0))

    await recorder.end("failed", 3.0, usage=None, error=RunError("server_error", "x"))

    told: list[Any] = [event async for _, event in feed.follow("resp_1")]
    assert [event.status for event in told] == ["completed"]
    run = await store.runs.get(ORG, "resp_1")
    assert run is not None
    assert (run.status, run.error) == ("completed", None)
