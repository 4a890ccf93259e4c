from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sanderling.store.store import Store


class StillClock:
    """A clock that shows what the test sets it to."""

    def __init__(self, at: float = 1000.0) -> None:
        self.at = at

    def now(self) -> float:
        return self.at


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture(params=["memory", "file"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, clock: StillClock
) -> AsyncIterator[Store]:
    """The store in both of its forms: every promise of the tables holds in both."""
    if request.param == "memory":
        store = await Store.memory(tmp_path, clock=clock)
    else:
        store = await Store.open(tmp_path / "data", clock=clock)
    yield store
    await store.close()
