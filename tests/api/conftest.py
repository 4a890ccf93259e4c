from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.making import Api, memory_api


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """A server whose model never gets a word in."""
    async with memory_api(tmp_path) as api:
        yield api
