"""
What boxes do that peers do not offer: asked directly, without keeper, socket or server.

Beside them an echo: what this machine takes to wake another process and be woken by it, which is
what no round trip can be quicker than, and which differs more between machines than anything else.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

from bench.cells import NEXT, PRINT
from bench.measures import Values
from bench.samples import timed
from sanderling.sandbox.base import BoxLimits, Logs
from sanderling.sandbox.box import Box
from sanderling.sandbox.spawner import Spawner

_LIMITS = BoxLimits(memory_bytes=1 << 30)
_WARM_UP = 5
_MESSAGE_BYTES = 75  # of a cell that is as short as NEXT
_ECHO = (
    "import socket, sys\n"
    "end = socket.socket(fileno=int(sys.argv[1]))\n"
    "while message := end.recv(4096):\n"
    "    end.send(message)\n"
)


async def measure(env: Path, count: int) -> Values:
    """Return figures in milliseconds; `count` of each, and more of what is quick."""
    spawner = await Spawner.start(env=env, disk_bytes=1 << 30, logs_bytes_max=1 << 20)
    try:
        box = await _ready(await spawner.spawn())
        echoes = await _echoes(count * 20)
        round_trips = await _round_trips(box, count * 20)
        interrupts = await _interrupts(box, count)
        respawns: list[float] = []
        for _ in range(count + _WARM_UP):
            box.kill()
            await box.wait_dead()
            with timed(respawns):
                box = await _ready(await spawner.respawn(box))
        box.kill()
        await box.wait_dead()
        box.release()
    finally:
        await spawner.close()
    return {
        "echo": echoes,
        "round_trip": round_trips,
        "interrupt": interrupts[_WARM_UP:],
        "respawn": respawns[_WARM_UP:],
    }


async def _ready(box: Box) -> Box:
    """Set its limits and have it answer once."""
    await box.configure(_LIMITS)
    await _run(box, PRINT)
    return box


async def _run(box: Box, code: str) -> None:
    shown = [s async for s in box.run_cell(code)]
    if shown[-1].status != "ok":  # type: ignore[union-attr]
        raise RuntimeError(f"{code!r} failed: {shown}")


async def _round_trips(box: Box, count: int) -> list[float]:
    values: list[float] = []
    for _ in range(count):
        with timed(values):
            await _run(box, NEXT)
    return values


async def _echoes(count: int) -> list[float]:
    """A message to a process that sends it back, and does nothing else."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-I", "-S", "-c", _ECHO, str(theirs.fileno())]
    values: list[float] = []
    with ours, subprocess.Popen(command, pass_fds=[theirs.fileno()]):
        theirs.close()
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        for _ in range(count + _WARM_UP):
            with timed(values):
                await loop.sock_sendall(ours, bytes(_MESSAGE_BYTES))
                await loop.sock_recv(ours, 4096)
        ours.shutdown(socket.SHUT_RDWR)
    return values[_WARM_UP:]


async def _interrupts(box: Box, count: int) -> list[float]:
    """From the signal to the end of a loop that would never end."""
    values: list[float] = []
    for _ in range(count + _WARM_UP):
        cell = box.run_cell("print('on', flush=True)\nwhile True: pass")
        async for shown in cell:
            if isinstance(shown, Logs) and "on" in shown.text:
                break
        with timed(values):
            box.interrupt()
            async for _ in cell:
                pass
    return values
