from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from unittest.mock import Mock

import pytest

from sanderling.errors import MachineFull, MachineUnfit, SpawnFailed
from sanderling.sandbox import pool as pool_module
from sanderling.sandbox.base import BoxLimits
from sanderling.sandbox.box import Box
from sanderling.sandbox.pool import Pool
from tests.doubles.plain_spawner import PlainSpawner
from tests.sandbox.stages import until

DEADLINE_S = 20.0
LIMITS = BoxLimits(memory_bytes=1 << 30)
LARGER = BoxLimits(memory_bytes=4 << 30)


class Makers:
    """Starts doubles and remembers them; can be told to refuse."""

    def __init__(self) -> None:
        self.made: list[PlainSpawner] = []
        self.refusals: list[Exception] = []

    async def __call__(self) -> PlainSpawner:
        if self.refusals:
            raise self.refusals.pop(0)
        self.made.append(await PlainSpawner.start())
        return self.made[-1]


class Opened:
    """A pool, its makers, and how often it said that its zygote died."""

    def __init__(self, size: int) -> None:
        self.makers = Makers()
        self.deaths = 0
        self.has_memory = True
        self.pool = Pool(
            self.makers, size=size, on_maker_death=self._count, check_memory=self._check_memory
        )

    def _count(self) -> None:
        self.deaths += 1

    def _check_memory(self) -> None:
        if not self.has_memory:
            raise MachineFull


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_BACKOFF_S", (0.01,))


@pytest.fixture
async def opened(request: pytest.FixtureRequest) -> AsyncIterator[Opened]:
    made = Opened(size=getattr(request, "param", 2))
    await made.pool.open()
    yield made
    await made.pool.close()


async def end(box: Box) -> None:
    box.kill()
    await box.wait_dead()
    box.release()


async def test_the_pool_fills_in_the_background_and_refills_what_is_taken(opened: Opened):
    await until(lambda: opened.pool.ready == 2)
    assert opened.makers.made[0].spawned == 2

    box = await opened.pool.take(LIMITS)
    assert not box.is_dead
    await until(lambda: opened.pool.ready == 2)
    assert opened.makers.made[0].spawned == 3
    await end(box)


async def test_the_first_taker_does_not_wait_for_the_pool_to_be_full(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
):
    await until(lambda: opened.pool.ready == 2)
    maker = opened.makers.made[0]
    maker.first_held_back = maker.spawned
    boxes = [await opened.pool.take(LIMITS) for _ in range(2)]

    assert opened.pool.ready == 0  # and the refill is held back
    maker.go_on.set()
    await until(lambda: opened.pool.ready == 2)
    for box in boxes:
        await end(box)


async def test_an_empty_pool_spawns_at_once(opened: Opened):
    boxes = [await opened.pool.take(LIMITS) for _ in range(4)]

    assert len({box.id for box in boxes}) == 4
    assert not any(box.is_dead for box in boxes)
    for box in boxes:
        await end(box)


@pytest.mark.parametrize("opened", [0], indirect=True)
async def test_a_pool_of_none_keeps_none(opened: Opened):
    box = await opened.pool.take(LIMITS)

    assert opened.pool.ready == 0
    assert opened.makers.made[0].spawned == 1
    await end(box)


async def test_a_box_that_died_while_it_waited_is_not_handed_out(opened: Opened):
    await until(lambda: opened.pool.ready == 2)
    for box in list(opened.pool._ready):
        box.kill()
        await box.wait_dead()
    box = await opened.pool.take(LIMITS)

    assert not box.is_dead
    await end(box)


async def test_a_failed_refill_is_tried_again(opened: Opened):
    await until(lambda: opened.pool.ready == 2)
    opened.makers.made[0].refuses = SpawnFailed("once")
    box = await opened.pool.take(LIMITS)

    await until(lambda: opened.pool.ready == 2)
    await end(box)


async def test_a_machine_that_is_out_of_descriptors_or_processes_is_tried_again(opened: Opened):
    await until(lambda: opened.pool.ready == 2)
    opened.makers.made[0].refuses = OSError(errno.EMFILE, "Too many open files")
    box = await opened.pool.take(LIMITS)
    await until(lambda: opened.pool.ready == 2)
    await end(box)

    opened.makers.refusals = [OSError(errno.EAGAIN, "Resource temporarily unavailable")]
    os.kill(opened.makers.made[0].pid, signal.SIGKILL)
    await until(lambda: len(opened.makers.made) == 2 and opened.pool.ready == 2)


@pytest.mark.parametrize("opened", [0], indirect=True)
async def test_a_failed_spawn_is_the_takers_to_know(opened: Opened):
    opened.makers.made[0].refuses = SpawnFailed("no")
    with pytest.raises(SpawnFailed, match="no"):
        await opened.pool.take(LIMITS)


async def test_a_dead_zygote_is_told_of_once_and_replaced(opened: Opened):
    await until(lambda: opened.pool.ready == 2)
    opened.makers.refusals = [MachineUnfit("not now"), MachineUnfit("still not")]
    os.kill(opened.makers.made[0].pid, signal.SIGKILL)

    await until(lambda: len(opened.makers.made) == 2 and opened.pool.ready == 2)
    assert opened.deaths == 1

    box = await opened.pool.take(LIMITS)
    assert not box.is_dead
    await end(box)


async def test_who_takes_while_the_zygote_is_dead_gets_a_box_of_the_next(opened: Opened):
    os.kill(opened.makers.made[0].pid, signal.SIGKILL)
    await until(lambda: not opened.makers.made[0].is_alive)
    boxes = [await opened.pool.take(LIMITS) for _ in range(3)]

    assert not boxes[-1].is_dead
    for box in boxes:
        await end(box)


async def test_a_zygote_that_never_comes_back_is_spawn_failed(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pool_module, "_RESTART_DEADLINE_S", 0.05)
    opened.makers.refusals = [MachineUnfit("never")] * 1000
    os.kill(opened.makers.made[0].pid, signal.SIGKILL)
    await until(lambda: opened.deaths == 1)
    with pytest.raises(SpawnFailed):
        await opened.pool.take(LIMITS)


@pytest.mark.parametrize("opened", [0], indirect=True)
async def test_a_zygote_that_does_not_answer_is_not_waited_for(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pool_module, "_FORK_DEADLINE_S", 0.05)
    opened.makers.made[0].first_held_back = 0
    with pytest.raises(SpawnFailed, match=r"within 0\.05 s"):
        await opened.pool.take(LIMITS)

    monkeypatch.setattr(pool_module, "_FORK_DEADLINE_S", DEADLINE_S)
    opened.makers.made[0].go_on.set()
    await end(await opened.pool.take(LIMITS))
    assert opened.deaths == 0


async def test_a_machine_that_is_unfit_from_the_start_is_not_tried_again():
    made = Opened(size=1)
    made.makers.refusals = [MachineUnfit("no namespaces")]
    with pytest.raises(MachineUnfit, match="no namespaces"):
        await made.pool.open()
    await made.pool.close()


async def test_nothing_is_left_when_the_pool_is_closed():
    before = set(os.listdir("/proc/self/fd"))
    made = Opened(size=2)
    await made.pool.open()
    await until(lambda: made.pool.ready == 2)
    boxes = list(made.pool._ready)
    await made.pool.close()

    assert not made.makers.made[0].is_alive
    assert all(box.is_dead for box in boxes)
    assert set(os.listdir("/proc/self/fd")) == before


async def test_a_ready_box_has_the_limits_that_were_asked_for_last(opened: Opened):
    await until(lambda: opened.pool.ready == 2)
    others = [await opened.pool.take(LARGER) for _ in range(2)]
    await until(lambda: opened.pool.ready == 2)

    assert [box.limits for box in others] == [LIMITS, LIMITS]
    box = opened.pool.take_ready(LARGER)

    assert box is not None
    assert box.limits == LARGER
    for taken in (box, *others):
        await end(taken)


async def test_a_ready_box_with_other_limits_is_not_handed_out_as_it_is(opened: Opened):
    await until(lambda: opened.pool.ready == 2)

    assert opened.pool.take_ready(LARGER) is None
    assert opened.pool.ready == 2


async def test_a_ready_box_whose_threads_are_others_is_ended_and_another_is_made(opened: Opened):
    await until(lambda: opened.pool.ready == 2)
    fewer = BoxLimits(memory_bytes=1 << 30, cpu_count=1.0)

    box = await opened.pool.take(fewer)

    assert box.limits is None
    await end(box)


async def test_nobody_waits_for_the_end_of_boxes_that_do_not_suit(opened: Opened):
    await until(lambda: opened.pool.ready == 2)
    may_end = asyncio.Event()
    unsuited = list(opened.pool._ready)
    for box in unsuited:
        box.wait_dead = _after(may_end, box.wait_dead)  # type: ignore[method-assign]
    try:
        async with asyncio.timeout(DEADLINE_S):
            taken = await opened.pool.take(BoxLimits(memory_bytes=1 << 30, cpu_count=1.0))
    finally:
        may_end.set()

    await until(lambda: all(box.is_dead for box in unsuited))
    await end(taken)


def _after(
    event: asyncio.Event, then: Callable[[], Awaitable[object]]
) -> Callable[[], Awaitable[None]]:
    async def wait() -> None:
        await event.wait()
        await then()

    return wait


async def test_a_box_that_cannot_be_ended_keeps_no_zygote_alive():
    made = Opened(size=1)
    await made.pool.open()
    await until(lambda: made.pool.ready == 1)
    [box] = made.pool._ready
    [maker] = made.makers.made
    box.release = Mock(side_effect=OSError(errno.EIO, "no"))  # type: ignore[method-assign]
    with pytest.raises(OSError, match="no"):
        await made.pool.close()

    assert not maker.is_alive
    Box.release(box)


async def test_a_machine_without_memory_gives_what_stands_ready_and_makes_no_more(opened: Opened):
    await until(lambda: opened.pool.ready == 2)
    opened.has_memory = False
    boxes = [await opened.pool.take(LIMITS) for _ in range(2)]

    with pytest.raises(MachineFull):
        await opened.pool.take(LIMITS)
    assert opened.makers.made[0].spawned == 2

    opened.has_memory = True
    await until(lambda: opened.pool.ready == 2)
    for box in boxes:
        await end(box)
