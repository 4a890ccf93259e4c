"""What Sanderling takes: boxes asked directly, then the whole server over a socket."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from openai import AsyncOpenAI

from bench.figures import Samples
from sanderling.sandbox.base import BoxLimits, Logs
from sanderling.sandbox.box import Box
from sanderling.sandbox.spawner import Spawner

IMPORTS = "import pandas, numpy, matplotlib.pyplot as plt; print(pandas.__version__)"
PLOT = "plt.plot([1, 2, 3]); plt.show()"
LIMITS = BoxLimits(memory_bytes=1 << 30)


async def run(box: Box, code: str) -> None:
    """Run a cell to its end; a benchmark of a failing cell would be worth nothing."""
    shown = [s async for s in box.run_cell(code)]
    if shown[-1].status != "ok":  # type: ignore[union-attr]
        raise RuntimeError(f"{code!r} failed: {shown}")


async def end(box: Box) -> None:
    box.kill()
    await box.wait_dead()
    box.release()


class Boxes:
    """Boxes of one zygote, without server or socket."""

    def __init__(self, spawner: Spawner) -> None:
        self._spawner = spawner

    @staticmethod
    @asynccontextmanager
    async def open(env: Path) -> AsyncIterator[Boxes]:
        spawner = await Spawner.start(env=env, disk_bytes=1 << 30, logs_bytes_max=1 << 20)
        try:
            yield Boxes(spawner)
        finally:
            await spawner.close()

    async def from_pool(self, count: int) -> Samples:
        """A waiting box is taken, given its limits, and has imported pandas and answered."""
        samples = Samples()
        for _ in range(count):
            box = await self._spawner.spawn()
            with samples.timed():
                await box.configure(LIMITS)
                await run(box, IMPORTS)
            await end(box)
        return samples

    async def without_pool(self, count: int) -> Samples:
        samples = Samples()
        for _ in range(count):
            with samples.timed():
                box = await self._spawner.spawn()
                await box.configure(LIMITS)
                await run(box, "print(1)")
            await end(box)
        return samples

    async def round_trips(self, count: int) -> Samples:
        samples = Samples()
        box = await self._spawner.spawn()
        await box.configure(LIMITS)
        await run(box, "x = 1")
        for _ in range(count):
            with samples.timed():
                await run(box, "x")
        await end(box)
        return samples

    async def first_plot(self, count: int) -> Samples:
        samples = Samples()
        for _ in range(count):
            with samples.timed():
                box = await self._spawner.spawn()
                await box.configure(LIMITS)
                await run(box, IMPORTS)
                await run(box, PLOT)
            await end(box)
        return samples

    async def respawns(self, count: int) -> Samples:
        samples = Samples()
        box = await self._spawner.spawn()
        for _ in range(count):
            box.kill()
            await box.wait_dead()
            with samples.timed():
                box = await self._spawner.respawn(box)
                await box.configure(LIMITS)
                await run(box, "1")
        await end(box)
        return samples

    async def interrupts(self, count: int) -> Samples:
        """From the signal to the end of `while True: pass`."""
        samples = Samples()
        box = await self._spawner.spawn()
        await box.configure(LIMITS)
        for _ in range(count):
            cell = box.run_cell("print('on', flush=True)\nwhile True: pass")
            async for shown in cell:
                if isinstance(shown, Logs) and "on" in shown.text:
                    break
            with samples.timed():
                box.interrupt()
                async for _ in cell:
                    pass
        await end(box)
        return samples

    async def lives_per_second(self, count: int, at_once: int = 4) -> Samples:
        """Create, execute, destroy, `at_once` in flight."""
        gate = asyncio.Semaphore(at_once)
        samples = Samples()

        async def live() -> None:
            async with gate:
                box = await self._spawner.spawn()
                await box.configure(LIMITS)
                await run(box, "print(1)")
                await end(box)

        with samples.timed():
            await asyncio.gather(*[live() for _ in range(count)])
        return Samples("/s", [count / samples.values[0] * 1000])

    async def idle_memory(self, count: int) -> Samples:
        """Private memory (unique set size) of idle boxes with the libraries loaded."""
        boxes = [await self._spawner.spawn() for _ in range(count)]
        samples = Samples("MiB", [private_mib(box.pid) for box in boxes])
        for box in boxes:
            await end(box)
        return samples


def private_mib(pid: int) -> float:
    kib = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(("Private_Clean:", "Private_Dirty:")):
            kib += int(line.split()[1])
    return kib / 1024


async def over_http(env: Path, count: int) -> tuple[Samples, Samples]:
    """Return an execution's time over HTTP, and that of a whole run with the offline model."""
    executions, runs = Samples(), Samples()
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, "-m", "sanderling", "serve", "--port", "0"]
        server = subprocess.Popen(
            [*command, "--data", data, "--env", str(env)], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            url = server.stdout.readline().split()[-1]
            client = AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
            container = await client.containers.create(name="bench")
            path = f"/containers/{container.id}/executions"
            await client.post(path, body={"code": "x = 1"}, cast_to=object)
            for _ in range(count):
                with executions.timed():
                    await client.post(path, body={"code": "x"}, cast_to=object)
            for _ in range(count // 4):
                with runs.timed():
                    await client.responses.create(
                        model="offline",
                        input="Compute 2 + 3.",
                        tools=[{"type": "code_interpreter", "container": container.id}],
                    )
            await client.close()
        finally:
            server.terminate()
            server.wait(timeout=30)
    return executions, runs
