"""
Cells that try to break out of a box, and what each must have got: nothing.

A probe knows nothing of how its box was made: `run` takes any. Also a program, so that any user can
run them: `python -m probes ENV`, beside this folder, prints what every cell answered, as JSON, and
needs nothing but Sanderling itself.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sanderling.sandbox.base import BoxLimits, Logs
from sanderling.sandbox.box import Box
from sanderling.sandbox.spawner import Spawner

from .calls import CALLS
from .files import FILES
from .floods import FLOODS
from .machine import MACHINE
from .network import NETWORK
from .peers import PEERS
from .privileges import PRIVILEGES
from .probe import TOOLS, Probe

__all__ = [
    "PROBES",
    "SURVIVED",
    "TOOLS",
    "Probe",
    "answer_all",
    "answer_of",
    "planted_secret",
    "printed",
    "run",
]

PROBES = [*FILES, *NETWORK, *PRIVILEGES, *CALLS, *MACHINE, *FLOODS, *PEERS]
SURVIVED = "42"


async def printed(box: Box, code: str) -> str:
    """Run a cell; return what it printed, and anything else that it showed, as text."""
    shown = [s async for s in box.run_cell(code)]
    return "".join(s.text if isinstance(s, Logs) else f"\n[{s}]" for s in shown[:-1]).strip()


async def run(box: Box, probe: Probe) -> tuple[str, str]:
    """Return what a probe printed in this box, and what the kernel says when asked after it."""
    return await printed(box, TOOLS + probe.code), await printed(box, "print(6 * 7)")


async def answer_of(spawn: Callable[[], Awaitable[Box]], probe: Probe) -> tuple[str, str]:
    """Run a probe in a fresh box that `spawn` makes, and end that box."""
    box = await spawn()
    await box.configure(BoxLimits(memory_bytes=1 << 30))
    try:
        return await run(box, probe)
    finally:
        box.kill()
        await box.wait_dead()
        box.release()


@contextmanager
def planted_secret() -> Iterator[None]:
    """Have the host know what no box may: one probe looks for it."""
    secret = "SECRET-OF-THE-HOST"
    os.environ["SANDERLING_TEST_SECRET"] = secret
    try:
        yield
    finally:
        assert secret == os.environ.pop("SANDERLING_TEST_SECRET")


async def answer_all(env: Path) -> dict[str, tuple[str, str]]:
    """Run every probe that applies to this machine as the user who asks."""
    with planted_secret():
        spawner = await Spawner.start(env=env, disk_bytes=64 << 20, logs_bytes_max=1 << 20)
    try:
        return {p.promise: await answer_of(spawner.spawn, p) for p in PROBES if p.applies}
    finally:
        await spawner.close()
