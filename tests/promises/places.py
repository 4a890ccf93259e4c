"""
A sandbox in this process with real boxes, twice: with the control groups of this machine, and as on
one that has none. A test module that imports these fixtures gets both.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sanderling.environments.environment import Environment
from sanderling.sandbox import cgroup
from sanderling.sandbox.base import BoxLimits
from sanderling.sandbox.local import LocalSandbox
from sanderling.sandbox.options import HostOptions
from sanderling.sandbox.processes import Processes
from tests.doubles import bare_host

LIMITS = BoxLimits(memory_bytes=1 << 30)
DEADLINE_S = 30.0


@dataclass
class Place:
    """A sandbox, and the one container of a test in it."""

    local: LocalSandbox
    container_id: str

    async def run(
        self, code: str, execution_id: str = "e", *, timeout_s: float = DEADLINE_S
    ) -> list[Any]:
        async with asyncio.timeout(DEADLINE_S):
            shown = self.local.execute(self.container_id, execution_id, code, timeout_s=timeout_s)
            return [happening async for happening in shown]

    @property
    def box(self) -> Any:
        return self.local._keepers[self.container_id]._box

    async def frozen(self) -> None:
        """Wait until the box stands still."""
        await until(lambda: self.box._freezer.is_frozen and self.box.is_still)

    def ticks(self) -> int:
        """Time its processes, living and waited for, have had of the processors."""
        return sum(ticks_of(pid) for pid in Processes(self.box.pid).all())


def ticks_of(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0
    return sum(map(int, fields[11:15]))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


@pytest.fixture(scope="module", params=["groups", "none"])
def without_groups(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Say whether there are no control groups; there are none if so."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "none":
            patch.setattr(cgroup, "_mounted", lambda: ({}, None))
        yield request.param == "none"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def local(guest_env: Environment, without_groups: bool) -> AsyncIterator[LocalSandbox]:
    options = HostOptions(
        env=str(guest_env.path),
        disk_bytes=2 << 30,
        logs_bytes_max=1 << 16,
        pool_size=0,
        boxes_max=20,
    )
    made = LocalSandbox(options, bare_host.start)
    await made.open()
    facts = made._pool.facts
    if not without_groups and facts is not None and facts.cgroups == "none":
        pytest.skip("this machine gives no control group")
    yield made
    await made.end()


@pytest_asyncio.fixture(loop_scope="module")
async def place(local: LocalSandbox, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    made = Place(local, request.node.name)
    await local.create(made.container_id, LIMITS)
    yield made
    async with asyncio.timeout(DEADLINE_S):
        await local.close(made.container_id)
