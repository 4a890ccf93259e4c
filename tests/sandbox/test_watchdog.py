from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from sanderling.sandbox import watchdog
from sanderling.sandbox.watchdog import SLACK_BYTES, Watchdog

DEADLINE_S = 20.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "LOOK_EVERY_S", 0.002)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_it_bites_once_when_there_is_too_much():
    asked: list[int] = []
    bites: list[None] = []

    def exceeds(limit: int) -> bool:
        asked.append(limit)
        return len(asked) == 3

    dog = Watchdog(exceeds, lambda: bites.append(None), 1000)
    await until(lambda: dog.has_bitten)
    await asyncio.sleep(0.01)

    assert asked == [1000 + SLACK_BYTES] * 3
    assert len(bites) == 1


async def test_it_looks_no_more_when_the_cell_is_over_or_the_box_dead():
    looks: list[int] = []

    def dies(limit: int) -> bool:
        looks.append(limit)
        raise OSError

    dog = Watchdog(dies, lambda: None, 1)
    await until(lambda: bool(looks))
    await asyncio.sleep(0.01)
    disarmed = Watchdog(dies, lambda: None, 1)
    disarmed.disarm()
    await asyncio.sleep(0.01)

    assert len(looks) == 1
    assert not dog.has_bitten
    assert not disarmed.has_bitten


async def test_one_that_looks_long_rests_long(monkeypatch: pytest.MonkeyPatch):
    loop, began = asyncio.get_running_loop(), 0.0
    looks: list[float] = []
    clock = iter([0.0, 0.01, 0.0, 0.01])  # each look takes 10 ms
    monkeypatch.setattr(watchdog.time, "perf_counter", lambda: next(clock))

    def exceeds(limit: int) -> bool:
        looks.append(loop.time())
        return len(looks) == 2

    began = loop.time()
    dog = Watchdog(exceeds, lambda: None, 1)
    await until(lambda: dog.has_bitten)

    assert looks[1] - looks[0] >= 0.19
    assert looks[0] >= began
