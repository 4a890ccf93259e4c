"""The watch that forgets runs nobody asked to store, and ends those that a full disk left open."""

from __future__ import annotations

import asyncio

from sanderling.errors import SanderlingError
from sanderling.observe import logs
from sanderling.runs.runner import Runner


async def sweep_forever(runner: Runner, *, every_s: float = 60.0) -> None:
    """
    Sweep again and again until cancelled; the caller owns the task.

    Args:
        every_s: seconds between two looks; what was to be forgotten after ten minutes may stay
            that much longer.
    """
    while True:
        try:
            await runner.sweep()
        except SanderlingError as error:
            logs.error("sweep.failed", reason=error.message)
        await asyncio.sleep(every_s)
