"""Real host processes with plain boxes, for tests of how they are started and ended."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sanderling.sandbox.base import BoxLimits
from sanderling.sandbox.launch import HostProcess, launch

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0
LIMITS = BoxLimits(memory_bytes=1 << 30)
PLAIN_HOST = (sys.executable, "-m", "tests.doubles.plain_host")


class Launcher:
    """Launches hosts on one data folder, and ends them in the end."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.pids: set[int] = set()

    async def __call__(self, **changed: Any) -> HostProcess:
        options: dict[str, Any] = {
            "env": Path("/env"),
            "data": self.data,
            "pool_size": 0,
            "boxes_max": 5,
            "disk_bytes": 1 << 20,
            "logs_bytes_max": 1 << 16,
            "command": PLAIN_HOST,
            "log_level": "info",
        }
        client, process = await launch(**{**options, **changed})
        assert client is process.client
        self.pids.add(process.pid)
        return process

    @property
    def log(self) -> str:
        return (self.data / "host" / "host.log").read_text()


@pytest.fixture
async def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Launcher]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # What a killed host leaves goes where the test's own files go.
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    made = Launcher(tmp_path / "data")
    yield made
    for pid in made.pids:
        if is_running(pid):
            os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(os.waitpid, pid, 0)


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


async def run(process: HostProcess, code: str, execution_id: str = "e") -> list[Any]:
    async with asyncio.timeout(DEADLINE_S):
        stream = process.client.execute("cntr_a", execution_id, code, timeout_s=DEADLINE_S)
        return [h async for h in stream]
