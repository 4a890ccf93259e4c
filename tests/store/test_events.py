from __future__ import annotations

import pytest
from sqlalchemy.exc import IntegrityError


async def test_events_are_replayed_in_order_from_any_point(store):
    await store.events.append("resp_1", 0, [{"n": 0}, {"n": 1}])
    await store.events.append("resp_1", 2, [{"n": 2}])
    await store.events.append("resp_2", 0, [{"n": "other"}])

    assert await store.events.after("resp_1", -1) == [(n, {"n": n}) for n in range(3)]
    assert await store.events.after("resp_1", 0, 1) == [(1, {"n": 1})]
    assert await store.events.after("resp_1", 2) == []


async def test_a_replay_stops_at_its_limit(store):
    await store.events.append("resp_1", 0, [{"n": n} for n in range(10)])

    assert [seq for seq, _ in await store.events.after("resp_1", 3, limit=4)] == [4, 5, 6, 7]


async def test_last_seq_is_minus_one_before_the_first_event(store):
    assert await store.events.last_seq("resp_1") == -1

    await store.events.append("resp_1", 0, [{}] * 5)

    assert await store.events.last_seq("resp_1") == 4


async def test_a_batch_that_meets_a_taken_number_is_not_written_at_all(store):
    await store.events.append("resp_1", 0, [{"n": 0}])

    with pytest.raises(IntegrityError):
        await store.events.append("resp_1", -1, [{"n": -1}, {"n": "again"}])

    assert await store.events.after("resp_1", -9) == [(0, {"n": 0})]


async def test_an_empty_batch_is_nothing(store):
    await store.events.append("resp_1", 0, [])

    assert await store.events.last_seq("resp_1") == -1


async def test_an_event_of_megabytes_comes_back_whole(store):
    event = {"data_url": "A" * (4 << 20), "text": "é😀\0\u2028"}
    await store.events.append("resp_1", 0, [event])

    assert await store.events.after("resp_1", -1) == [(0, event)]
