from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sanderling.containers import lines
from sanderling.containers.registry import Containers
from sanderling.errors import NotFound, RateLimited
from sanderling.records import Container, Execution, ResultOutput
from tests.containers.makers import ORG, execute, until, until_output
from tests.doubles.fake_clock import FakeClock
from tests.doubles.memory_sandbox import MemorySandbox

WAITS = "import asyncio\ngo = asyncio.Event()\nprint('on', end='')\nawait go.wait()"


@pytest.fixture
async def container(containers: Containers) -> Container:
    return await containers.create(ORG, name="x")


def begin(
    containers: Containers, container: Container, code: str, execution_id: str
) -> AsyncIterator[Any]:
    return containers.execute(container, code, execution_id=execution_id, timeout_s=60)


async def end_of(happenings: AsyncIterator[Any]) -> Execution:
    async with asyncio.timeout(10):
        *_, last = [happening async for happening in happenings]
    assert isinstance(last, Execution)
    return last


async def test_executions_run_in_the_order_of_the_calls_whatever_their_length(
    containers: Containers, container: Container
) -> None:
    await execute(containers, container, "order = []")

    asked = [
        begin(containers, container, "#" * (100_000 * (n % 2)) + f"\norder.append({n})", f"e{n}")
        for n in range(20)
    ]
    ended = await asyncio.gather(*map(end_of, asked))

    assert {execution.status for execution in ended} == {"ok"}
    shown = await execute(containers, container, "order")
    assert shown.outputs == (ResultOutput(str(list(range(20)))),)


async def test_files_of_one_cell_are_kept_before_the_next_may_change_them(
    containers: Containers, container: Container
) -> None:
    asked = [
        begin(containers, container, f"save('a.txt', '{n}' * {n + 1})", f"e{n}") for n in range(5)
    ]
    ended = await asyncio.gather(*map(end_of, asked))

    assert [execution.artifacts[0].bytes for execution in ended] == [1, 2, 3, 4, 5]


async def test_execution_in_line_is_interrupted_at_once_and_never_runs(
    containers: Containers, container: Container, sandbox: MemorySandbox
) -> None:
    first = begin(containers, container, WAITS, "first")
    await until_output(first)
    second = begin(containers, container, "x = 1", "second")
    third = begin(containers, container, "'x' in globals()", "third")

    assert await containers.interrupt(ORG, container.id, "second")
    assert (await end_of(second)).status == "interrupted"
    assert not await containers.interrupt(ORG, container.id, "second")
    assert await containers.interrupt(ORG, container.id, "first")
    assert (await end_of(first)).status == "interrupted"
    assert (await end_of(third)).outputs == (ResultOutput("False"),)
    assert ("execute", container.id, "second") not in sandbox.calls


async def test_execution_interrupted_while_its_box_is_made_never_runs(
    containers: Containers, container: Container, sandbox: MemorySandbox
) -> None:
    making, go_on = asyncio.Event(), asyncio.Event()
    create = sandbox.create

    async def slow_create(*args: Any, **kwargs: Any) -> bool:
        making.set()
        await go_on.wait()
        return await create(*args, **kwargs)

    sandbox.create = slow_create  # type: ignore[method-assign]
    happenings = asyncio.create_task(end_of(begin(containers, container, "1", "exec_1")))
    await making.wait()

    assert await containers.interrupt(ORG, container.id, "exec_1")
    go_on.set()
    assert (await happenings).status == "interrupted"
    assert ("execute", container.id, "exec_1") not in sandbox.calls


@pytest.mark.parametrize("at_once", ["", "interrupt", "delete", "expire"])
async def test_deleting_a_container_ends_what_runs_and_what_waits(
    containers: Containers, container: Container, clock: FakeClock, at_once: str
) -> None:
    first = begin(containers, container, WAITS, "first")
    await until_output(first)
    waiting = [begin(containers, container, "1", f"e{n}") for n in range(3)]

    async def other() -> None:
        match at_once:
            case "interrupt":
                await containers.interrupt(ORG, container.id, "first")
            case "delete":
                await containers.delete(ORG, container.id)
            case "expire":
                clock.advance(minutes=60)
                await containers.expire_idle()

    await asyncio.gather(containers.delete(ORG, container.id), other(), return_exceptions=True)
    ended = [await end_of(happenings) for happenings in (first, *waiting)]

    # Interrupting the first lets the next one begin, which may be over before the deletion comes.
    waited = {"interrupted", "ok"} if at_once == "interrupt" else {"interrupted"}
    assert ended[0].status == "interrupted"
    assert {execution.status for execution in ended[1:]} <= waited
    with pytest.raises(NotFound):
        await containers.get(ORG, container.id)
    with pytest.raises(NotFound):
        await end_of(begin(containers, container, "1", "late"))

    async def is_forgotten() -> bool:
        return containers._boxes.known() == set()

    await until(is_forgotten)


async def test_line_has_an_end_and_then_room_again(
    containers: Containers, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "PER_CONTAINER_MAX", 2)
    first = begin(containers, container, WAITS, "first")
    await until_output(first)
    waiting = [begin(containers, container, "1", f"e{n}") for n in range(2)]

    with pytest.raises(RateLimited, match="2 executions are waiting in this container") as caught:
        begin(containers, container, "1", "one_too_many")
    await containers.interrupt(ORG, container.id, "first")

    assert caught.value.retry_after_s > 0
    for happenings in (first, *waiting):
        await end_of(happenings)
    assert (await execute(containers, container, "1")).status == "ok"


@pytest.mark.parametrize("limit", ["PER_ORGANIZATION_MAX", "CODE_BYTES_MAX"])
async def test_organization_has_a_share_of_all_lines(
    containers: Containers, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(lines, limit, 2 if limit == "PER_ORGANIZATION_MAX" else 2 * len(WAITS))
    ours = [await containers.create(ORG, name="x") for _ in range(3)]
    theirs = await containers.create("org_b", name="x")
    running = [begin(containers, c, WAITS, f"e{n}") for n, c in enumerate(ours[:2])]

    with pytest.raises(RateLimited, match="2 executions of this organization"):
        begin(containers, ours[2], "1", "one_too_many")

    assert (await end_of(begin(containers, theirs, "1", "exec_b"))).status == "ok"
    for container, happenings in zip(ours, running, strict=False):
        await until_output(happenings)
        await containers.delete(ORG, container.id)
        await end_of(happenings)
    assert (await execute(containers, ours[2], "1")).status == "ok"
