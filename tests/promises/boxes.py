"""One real box with all that is preloaded, for the tests of a module that only read and write."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from sanderling.environments.environment import Environment
from sanderling.sandbox.base import BoxLimits, Ended, Error, Logs, Result
from sanderling.sandbox.local import LocalSandbox
from sanderling.sandbox.options import HostOptions
from tests.sandbox.stages import chunks

_CELL_DEADLINE_S = 120.0


class OneBox:
    """A container; its variables and files stay from cell to cell."""

    def __init__(self, local: LocalSandbox) -> None:
        self._local = local
        self._numbers = itertools.count()

    async def shown(self, code: str) -> list[Any]:
        execution = self._local.execute(
            "one", f"e{next(self._numbers)}", code, timeout_s=_CELL_DEADLINE_S
        )
        return [happening async for happening in execution]

    async def text(self, code: str) -> str:
        """Run a cell that must end well; return all that it said, without its last line feed."""
        shown = await self.shown(code)
        ended = shown[-1]
        assert isinstance(ended, Ended)
        assert ended.status == "ok", [s for s in shown if isinstance(s, Error | Logs)]
        return "".join(s.text for s in shown if isinstance(s, Logs | Result)).rstrip("\n")

    async def put(self, name: str, data: bytes) -> None:
        await self._local.write_file("one", f"/mnt/data/{name}", chunks(data))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one_box(guest_env: Environment) -> AsyncIterator[OneBox]:
    options = HostOptions(
        env=str(guest_env.path),
        disk_bytes=512 << 20,
        logs_bytes_max=1 << 18,
        pool_size=0,
        boxes_max=2,
    )
    local = LocalSandbox(options)
    await local.open()
    await local.create("one", BoxLimits(memory_bytes=4 << 30))
    yield OneBox(local)
    await local.end()
