"""How a machine that has not enough for all is shared out: boxes, births, cells, queues."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sanderling.errors import MachineFull, RateLimited
from sanderling.sandbox import keeper
from sanderling.sandbox.base import BoxLimits, Ended, Result
from sanderling.sandbox.box import Box
from tests.sandbox.stages import LIMITS, SPINS, Stage, begun, staged, until


@pytest.fixture(params=["local", "socket"])
async def one_cell(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    """One cell runs at once; each tenant has its first all the same."""
    async with staged(tmp_path, request.param, boxes_max=6, executions_max=1) as made:
        yield made


async def ended(stream: AsyncIterator[object]) -> Ended:
    *_, last = [happening async for happening in stream]
    assert isinstance(last, Ended)
    return last


# ---- boxes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["local", "socket"])
async def test_a_tenant_gets_no_more_boxes_than_its_share(tmp_path: Path, kind: str):
    async with staged(tmp_path, kind, boxes_max=4, boxes_per_tenant_max=2) as stage:
        for container_id in ("cntr_a", "cntr_b"):
            await stage.sandbox.create(container_id, LIMITS, tenant="org_a")
        with pytest.raises(RateLimited, match="boxes_per_organization_max") as caught:
            await stage.sandbox.create("cntr_c", LIMITS, tenant="org_a")

        assert caught.value.retry_after_s > 0
        assert not await stage.sandbox.create("cntr_a", LIMITS, tenant="org_a")  # it stands
        assert await stage.sandbox.create("cntr_d", LIMITS, tenant="org_b")
        await stage.sandbox.close("cntr_a")
        assert await stage.sandbox.create("cntr_c", LIMITS, tenant="org_a")


async def test_births_that_fail_give_their_place_in_the_share_back(tmp_path: Path):
    async with staged(tmp_path, "local", pool_size=0, boxes_per_tenant_max=1) as stage:
        stage.makers[0].refuses = MachineFull("no processes left")
        with pytest.raises(MachineFull):
            await stage.sandbox.create("cntr_a", LIMITS, tenant="org_a")

        assert await stage.sandbox.create("cntr_b", LIMITS, tenant="org_a")
        assert await stage.sandbox.containers() == ["cntr_b"]


async def test_a_box_whose_birth_fails_for_a_fault_of_ours_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    boxes: list[Box] = []

    async def configure(box: Box, _: BoxLimits) -> None:
        boxes.append(box)
        raise OSError(errno.EMFILE, "Too many open files")

    async with staged(tmp_path, "local", boxes_per_tenant_max=1) as stage:
        with monkeypatch.context() as patch:
            patch.setattr(Box, "configure", configure)
            with pytest.raises(OSError, match="Too many open files"):
                await stage.sandbox.create("cntr_a", LIMITS, tenant="org_a")

        assert [box.is_dead for box in boxes] == [True]
        assert await stage.sandbox.create("cntr_a", LIMITS, tenant="org_a")


@pytest.mark.parametrize("kind", ["local", "socket"])
async def test_a_machine_short_of_memory_makes_no_more_boxes_and_keeps_those_it_has(
    tmp_path: Path, kind: str
):
    left = 1 << 30
    async with staged(tmp_path, kind, memory_left=lambda: left, pool_size=0) as stage:
        await stage.sandbox.create("cntr_a", LIMITS)
        left = 0
        with pytest.raises(MachineFull, match=r"too little memory.*Delete containers") as caught:
            await stage.sandbox.create("cntr_b", LIMITS)

        assert caught.value.retry_after_s > 0
        assert (await stage.run("1 + 1"))[0] == Result("2")
        left = 1
        assert await stage.sandbox.create("cntr_b", LIMITS)


async def test_births_are_given_to_tenants_in_turn(tmp_path: Path):
    async with staged(tmp_path, "local", boxes_max=40, pool_size=0) as stage:
        born: list[str] = []

        async def create(container_id: str, tenant: str) -> None:
            await stage.sandbox.create(container_id, LIMITS, tenant=tenant)
            born.append(tenant)

        stage.makers[0].first_held_back = 0
        flood = [asyncio.create_task(create(f"cntr_{n}", "org_a")) for n in range(16)]
        await asyncio.sleep(0)
        single = asyncio.create_task(create("cntr_b", "org_b"))
        await until(lambda: stage.local._birth_turns.waiting == 13)
        stage.makers[0].go_on.set()
        await single

        assert born.count("org_a") < 10
        await asyncio.gather(*flood)


async def test_who_comes_back_when_the_machine_was_full_is_served(tmp_path: Path):
    async with staged(tmp_path, "socket", boxes_max=5) as stage:

        async def live(number: int) -> object:
            container_id = f"cntr_{number}"
            while True:
                try:
                    await stage.sandbox.create(container_id, LIMITS, tenant=f"org_{number % 3}")
                    break
                except MachineFull:  # what a client does that is told to come back
                    await asyncio.sleep(0.01)
            shown = await stage.run(f"{number}", container_id=container_id)
            await stage.sandbox.close(container_id)
            return shown[0]

        shown = await asyncio.gather(*map(live, range(15)))

        assert shown == [Result(str(number)) for number in range(15)]
        assert await stage.sandbox.containers() == []


# ---- cells -------------------------------------------------------------------------------------


async def test_a_tenants_crowd_of_cells_keeps_no_other_tenant_waiting(one_cell: Stage):
    for number in range(3):
        await one_cell.sandbox.create(f"cntr_{number}", LIMITS, tenant="org_a")
    await one_cell.sandbox.create("cntr_b", LIMITS, tenant="org_b")
    spinning = one_cell.follow(SPINS, "cntr_0")
    await begun(spinning)
    crowd = [asyncio.create_task(one_cell.run("1", container_id=f"cntr_{n}")) for n in (1, 2)]
    await until(lambda: one_cell.local._cell_turns.waiting == 2)

    shown = await one_cell.run("2", container_id="cntr_b")

    assert shown[0] == Result("2")
    assert not any(task.done() for task in crowd)
    assert await one_cell.sandbox.interrupt("cntr_0", "e")
    assert [(await task)[0] for task in crowd] == [Result("1")] * 2


@pytest.mark.parametrize("end", ["interrupt", "close", "zygote"])
async def test_a_cell_that_waits_for_its_turn_can_be_ended(one_cell: Stage, end: str):
    await one_cell.sandbox.create("cntr_a", LIMITS)
    await one_cell.sandbox.create("cntr_b", LIMITS)
    spinning = one_cell.follow(SPINS, "cntr_a")
    await begun(spinning)
    waiting = asyncio.create_task(ended(one_cell.follow("1", "cntr_b")))
    await until(lambda: one_cell.local._cell_turns.waiting == 1)
    match end:
        case "interrupt":
            assert await one_cell.sandbox.interrupt("cntr_b", "e")
        case "close":
            assert await one_cell.sandbox.close("cntr_b")
        case "zygote":
            os.kill(one_cell.makers[0].pid, signal.SIGKILL)

    async with asyncio.timeout(20):
        assert (await waiting).status == ("died" if end == "zygote" else "interrupted")
    assert one_cell.local._cell_turns.waiting == 0
    await one_cell.sandbox.close("cntr_a")
    await until(lambda: one_cell.local._cell_turns.at_work == 0)


async def test_a_cell_that_has_no_turn_in_time_was_not_run_and_says_so(one_cell: Stage):
    one_cell.local._cell_turns._wait_s_max = 0.05
    await one_cell.sandbox.create("cntr_a", LIMITS)
    await one_cell.sandbox.create("cntr_b", LIMITS)
    spinning = one_cell.follow(SPINS, "cntr_a")
    await begun(spinning)
    with pytest.raises(MachineFull, match="too busy") as caught:
        await one_cell.run("x = 1", container_id="cntr_b")
    with pytest.raises(MachineFull):  # asked again under the same id: not run either
        await one_cell.run("x = 1", container_id="cntr_b")
    await one_cell.sandbox.interrupt("cntr_a", "e")
    assert (await ended(spinning)).status == "interrupted"

    assert caught.value.retry_after_s > 0
    shown = await one_cell.run("'x' in globals()", container_id="cntr_b", execution_id="f")
    assert shown[0] == Result("False")


# ---- queues ------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["QUEUE_MAX", "QUEUE_BYTES_MAX"])
@pytest.mark.parametrize("kind", ["local", "socket"])
async def test_a_containers_queue_has_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, limit: str
):
    monkeypatch.setattr(keeper, limit, 3)
    async with staged(tmp_path, kind) as stage:
        await stage.sandbox.create("cntr_a", LIMITS)
        spinning = stage.local.submit("cntr_a", "first", "import time\ntime.sleep(600)" if limit ==
                                      "QUEUE_MAX" else "0", timeout_s=600)  # fmt: skip
        if limit == "QUEUE_MAX":
            await until(lambda: stage.local._keepers["cntr_a"]._running is not None)
            for number in range(3):
                stage.local.submit("cntr_a", f"e{number}", "1", timeout_s=60)
        code = "1" if limit == "QUEUE_MAX" else "1234"
        with pytest.raises(RateLimited, match="waiting in this container already") as caught:
            await stage.run(code, execution_id="one_too_many")

        assert caught.value.retry_after_s > 0
        assert not await stage.sandbox.interrupt("cntr_a", "one_too_many")
        await stage.sandbox.interrupt("cntr_a", "first")
        assert [h async for _, h in spinning.follow()][-1].status in ("interrupted", "ok")
        await until(lambda: not stage.local._keepers["cntr_a"]._queue)
        assert (await stage.run("2", execution_id="one_too_many"))[0] == Result("2")
