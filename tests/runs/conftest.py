from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sanderling.containers.registry import Containers
from sanderling.runs.feed import Feed
from sanderling.store.store import Store
from tests.doubles.fake_clock import FakeClock
from tests.doubles.memory_sandbox import MemorySandbox
from tests.runs.stage import Stage


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Store]:
    store = await Store.memory(tmp_path, clock=clock)
    yield store
    await store.close()


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[MemorySandbox]:
    sandbox = MemorySandbox(tmp_path / "boxes")
    yield sandbox
    await sandbox.aclose()


@pytest.fixture
async def containers(
    store: Store, sandbox: MemorySandbox, clock: FakeClock
) -> AsyncIterator[Containers]:
    containers = Containers(store, sandbox, clock)
    yield containers
    await containers.close()


@pytest.fixture
async def feed(store: Store) -> AsyncIterator[Feed]:
    feed = Feed(store)
    yield feed
    await feed.close()


@pytest.fixture
async def stage(
    store: Store,
    sandbox: MemorySandbox,
    containers: Containers,
    feed: Feed,
    clock: FakeClock,
) -> AsyncIterator[Stage]:
    stage = Stage(store, sandbox, containers, feed, clock)
    yield stage
    await stage.close()
