from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanderling.errors import MachineFull, RateLimited
from sanderling.sandbox.turns import Turns
from tests.sandbox.stages import until


class Works:
    """Work of many tenants, each ended by hand, in the order it was let in."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.let_in: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def ask(self, *names: str) -> None:
        for name in names:
            self.tasks[name] = asyncio.create_task(self._enter(name))

    async def _enter(self, name: str) -> None:
        await self.turns.enter(tenant_of(name))
        self.let_in.append(name)

    async def end(self, name: str) -> None:
        self.turns.leave(tenant_of(name))
        await settled()


def tenant_of(name: str) -> str:
    return name[0]


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_tenant_is_served_in_the_order_it_came():
    works = Works(Turns(2, work="cells"))
    works.ask("a1", "a2", "a3", "a4")
    await settled()
    await works.end("a2")
    await works.end("a1")

    assert works.let_in == ["a1", "a2", "a3", "a4"]
    assert (works.turns.at_work, works.turns.waiting) == (2, 0)


async def test_tenants_take_turns_however_many_wait_of_each():
    works = Works(Turns(1, work="cells"))
    works.ask("a1", "a2", "a3", "a4", "b1", "c1", "b2")
    await settled()
    for _ in range(6):
        await works.end(works.let_in[-1])

    assert works.let_in == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]


async def test_a_tenant_with_nothing_at_work_never_waits_where_the_first_is_free():
    works = Works(Turns(2, work="cells", first_is_free=True))
    works.ask("a1", "a2", "a3", "b1", "b2")
    await settled()

    assert works.let_in == ["a1", "a2", "b1"]
    await works.end("b1")
    assert works.let_in == ["a1", "a2", "b1", "b2"]
    await works.end("a1")
    assert works.let_in[-1] == "b2"  # b2 is one too many still
    await works.end("b2")
    assert works.let_in[-1] == "a3"


async def test_a_line_has_an_end_and_others_lines_are_not_behind_it():
    works = Works(Turns(1, work="cells", waiting_max=2))
    works.ask("a1", "a2", "a3")
    await settled()

    with pytest.raises(RateLimited, match="2 cells of this organization") as caught:
        await works.turns.enter("a")
    assert caught.value.retry_after_s > 0
    works.ask("b1")
    await settled()
    await works.end("a1")
    await works.end("a2")
    assert works.let_in == ["a1", "a2", "b1"]
    works.tasks["a3"].cancel()


async def test_who_waits_too_long_is_told_and_is_in_nobodys_way():
    works = Works(Turns(1, work="cells", wait_s_max=0.01))
    await works.turns.enter("a")

    with pytest.raises(MachineFull, match=r"no turn within 0\.01 s"):
        await works.turns.enter("a")
    works.turns.leave("a")
    await works.turns.enter("b")
    assert (works.turns.at_work, works.turns.waiting) == (1, 0)


@pytest.mark.parametrize("when", ["while it waits", "as it is let in"])
async def test_who_goes_away_leaves_its_place_to_the_next(when: str):
    works = Works(Turns(1, work="cells"))
    works.ask("a1", "a2", "b1")
    await settled()
    if when == "as it is let in":
        works.turns.leave("a")
    works.tasks["a2"].cancel()
    if when == "while it waits":
        works.turns.leave("a")
    await until(lambda: works.let_in == ["a1", "b1"])

    assert (works.turns.at_work, works.turns.waiting) == (1, 0)


@given(
    st.integers(1, 3),
    st.booleans(),
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["ask", "end", "leave"]))),
)
def test_whatever_comes_and_goes_places_are_neither_lost_nor_made(
    places: int, first_is_free: bool, steps: list[tuple[str, str]]
):
    async def play() -> None:
        turns = Turns(places, work="cells", first_is_free=first_is_free)
        works = Works(turns)
        at_work: list[str] = []

        def entered() -> list[str]:
            return [n for n, t in works.tasks.items() if t.done() and not t.cancelled()]

        def pick(tenant: str, fits: Callable[[str], bool]) -> str | None:
            return next((n for n in works.tasks if n[0] == tenant and fits(n)), None)

        for number, (tenant, step) in enumerate(steps):
            if step == "ask":
                works.ask(f"{tenant}{number}")
            elif step == "end" and (name := pick(tenant, lambda n: n in entered())):
                del works.tasks[name]
                turns.leave(tenant)
            elif step == "leave" and (name := pick(tenant, lambda n: n not in entered())):
                works.tasks.pop(name).cancel()
            if number % 3 == 0:
                await settled()
        await settled()
        at_work = entered()

        assert turns.at_work == len(at_work)
        assert turns.waiting == len(works.tasks) - len(at_work)
        assert turns.at_work <= places + (3 if first_is_free else 0)
        assert turns.at_work >= min(places, len(works.tasks))
        for name in list(works.tasks):
            works.tasks[name].cancel()
        await settled()

    asyncio.run(play())
