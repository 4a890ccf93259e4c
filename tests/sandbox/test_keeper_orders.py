"""Whatever is done to a keeper, in whatever order: each execution ends once and nothing is left."""

from __future__ import annotations

import asyncio
import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sanderling.sandbox.base import BoxLimits, Ended
from sanderling.sandbox.journal import Journal
from sanderling.sandbox.keeper import Keeper
from sanderling.sandbox.turns import Turns
from tests.doubles.plain_spawner import PlainSpawner

LIMITS = BoxLimits(memory_bytes=1 << 30)
CODES = {
    "ends": "x = 1",
    "raises": "1 / 0",
    "spins": "while True: pass",
    "sleeps": "import time; time.sleep(600)",
    "dies": "import os; os._exit(1)",
    "is stubborn": "import signal, time; signal.signal(2, signal.SIG_IGN); time.sleep(600)",
}
STEPS = st.one_of(
    st.tuples(st.just("submit"), st.sampled_from(sorted(CODES))),
    st.tuples(st.just("interrupt"), st.integers(0, 4)),
    st.tuples(st.sampled_from(["kill", "pass", "leave the places", "take the places"]), st.none()),
)
ENDS = st.sampled_from(["close", "begin to close", "lose", "kill", "just wait"])


async def ends_of(journal: Journal) -> list[object]:
    return [happening async for _, happening in journal.follow() if isinstance(happening, Ended)]


async def play(steps: list[tuple[str, object]], end: str) -> None:
    spawner = await PlainSpawner.start()
    before = len(os.listdir("/proc/self/fd"))
    turns = Turns(1, work="cells")
    box = await spawner.spawn()
    await box.configure(LIMITS)
    keeper = Keeper(
        "cntr_x",
        box,
        LIMITS,
        respawn=spawner.respawn,
        on_lost=lambda: None,
        turns=turns,
        grace_s=0.05,
    )
    journals: list[Journal] = []
    taken = 0
    closing: asyncio.Task[None] | None = None
    for number, (step, what) in enumerate(steps):
        match step, what:
            case "submit", str():
                timeout_s = 0.3 if end == "just wait" else 60.0
                journals.append(keeper.submit(f"e{number}", CODES[what], timeout_s=timeout_s))
            case "interrupt", int():
                keeper.interrupt(f"e{what}")
            case "kill", _ if keeper._box is not None:
                keeper._box.kill()
            case "take the places", _ if turns.try_enter("other"):
                taken += 1
            case "leave the places", _ if taken:
                turns.leave("other")
                taken -= 1
            case _:
                await asyncio.sleep(0.02)
    for _ in range(taken):
        turns.leave("other")
    match end:
        case "close":
            closing = asyncio.create_task(keeper.close())
        case "begin to close":
            keeper.begin_close()
            keeper.begin_close()
        case "lose":
            os.kill(spawner.pid, 9)
            keeper.lose()
        case "kill" if keeper._box is not None:
            keeper._box.kill()
            keeper.begin_close()
    async with asyncio.timeout(60):
        ends = [await ends_of(journal) for journal in journals]
        await (closing or keeper.close())

    assert [len(found) for found in ends] == [1] * len(journals)
    assert all(journal.is_over for journal in journals)
    assert (turns.at_work, turns.waiting) == (0, 0)
    assert len(os.listdir("/proc/self/fd")) <= before
    await spawner.close()


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=False
)
@given(st.lists(STEPS, max_size=8), ENDS)
def test_every_execution_ends_once_and_nothing_is_left(steps: list[tuple[str, object]], end: str):
    asyncio.run(play(steps, end))
