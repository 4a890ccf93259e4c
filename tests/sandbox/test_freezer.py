"""The freezer where there is no control group, against boxes that behave in a way of their own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sanderling.sandbox import freezer
from sanderling.sandbox.freezer import Freezer

DEADLINE_S = 30.0


class Restless:
    """Processes of which some never stand still."""

    def __init__(self) -> None:
        self.rounds = 0

    def stop(self) -> bool:
        self.rounds += 1
        return False


async def test_a_box_that_cannot_be_stopped_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freezer, "DOWN_S_MAX", 0.1)
    defied = asyncio.Event()
    restless: Any = Restless()
    made = Freezer(None, restless, on_defiance=defied.set)

    made.freeze()
    async with asyncio.timeout(DEADLINE_S):
        await defied.wait()

    assert restless.rounds < 0.1 / freezer.ROUND_S  # rarer and rarer: to look takes time too
