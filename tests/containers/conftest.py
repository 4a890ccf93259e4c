from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sanderling.containers.registry import Containers
from sanderling.store.store import Store
from tests.doubles.fake_clock import FakeClock
from tests.doubles.memory_sandbox import MemorySandbox


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
    containers = Containers(store, sandbox, clock, file_bytes_max=10_000)
    yield containers
    await containers.close()
