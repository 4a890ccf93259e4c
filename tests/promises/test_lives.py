"""
A thousand lives leave nothing behind: boxes are made, used in every way, and ended in every way.

300 of them in the suite, which takes seconds; `SANDERLING_LIVES=1000` for as many as one likes.
"""

from __future__ import annotations

import asyncio
import gc
import os
import re
import threading
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sanderling.environments.environment import Environment
from sanderling.sandbox.base import BoxLimits, Ended, Logs
from sanderling.sandbox.local import LocalSandbox
from sanderling.sandbox.options import HostOptions
from sanderling.sandbox.spawner import Spawner
from tests.sandbox.stages import chunks

pytestmark = pytest.mark.sandbox

LIVES = int(os.environ.get("SANDERLING_LIVES", "300"))
WARM_UP = 40  # lazy imports, threads of the pool of threads, caches
AT_ONCE = 8
LIMITS = BoxLimits(memory_bytes=1 << 30)
POOL = 2
BOX_FOLDER = re.compile(r"/[0-9a-f]{16}/")  # of its control groups; each box has its own
# What a life may cost for ever: nothing, but allocators do not give back every page.
GROWTH_BYTES_MAX = 12 << 20
SPINS = "print('begun', flush=True)\nwhile True: pass"
STUBBORN = (
    "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('begun', flush=True)\n"
    "while True: pass"
)
FORKS = (
    "import os, time\nfor _ in range(5):\n    if os.fork() == 0:\n        time.sleep(1000)\n"
    "open('made', 'w').write('x' * 1000)"
)


@pytest.fixture
async def local(guest_env: Environment) -> AsyncIterator[LocalSandbox]:
    async def start(options: HostOptions) -> Spawner:
        return await Spawner.start(
            env=guest_env.path,
            disk_bytes=options.disk_bytes,
            logs_bytes_max=options.logs_bytes_max,
            preload=(),
        )

    options = HostOptions(
        env=str(guest_env.path),
        disk_bytes=8 << 20,
        logs_bytes_max=1 << 16,
        pool_size=POOL,
        boxes_max=AT_ONCE + 1,
    )
    sandbox = LocalSandbox(options, start)
    await sandbox.open()
    yield sandbox
    await sandbox.end()


async def live(local: LocalSandbox, number: int) -> str:
    """Live one life to its end; return how its code ended."""
    container_id = f"cntr_{number}"
    await local.create(container_id, LIMITS, tenant=f"org_{number % 3}")
    await local.write_file(container_id, "/mnt/data/in.txt", chunks(b"x" * 1000))
    code, timeout_s, then = {
        1: (SPINS, 0.05, ""),
        2: ("import os; os._exit(1)", 60.0, ""),
        3: (SPINS, 60.0, "close"),
        4: (SPINS, 60.0, "interrupt"),
        5: (STUBBORN, 60.0, "close"),
        6: (FORKS, 60.0, ""),
        7: (SPINS, 60.0, "leave"),
    }.get(number % 20, ("print(len(open('in.txt').read()))", 60.0, ""))
    ended = await execute(local, container_id, code, timeout_s, then)
    if number % 4 == 0:  # a reader that stops in the middle
        async for _ in local.read_file(container_id, "/mnt/data/in.txt"):
            break
    await asyncio.gather(*(local.close(container_id) for _ in range(1 + number % 2)))
    return ended


async def execute(
    local: LocalSandbox, container_id: str, code: str, timeout_s: float, then: str
) -> str:
    stream = local.execute(container_id, "e", code, timeout_s=timeout_s)
    try:
        async for happening in stream:
            if isinstance(happening, Ended):
                return happening.status
            if isinstance(happening, Logs) and then == "close":
                await asyncio.gather(local.close(container_id), local.interrupt(container_id, "e"))
            if isinstance(happening, Logs) and then == "interrupt":
                await local.interrupt(container_id, "e")
            if isinstance(happening, Logs) and then == "leave":
                return "left"
    finally:
        await stream.aclose()
    raise AssertionError("an execution ended without its end")


async def lives(local: LocalSandbox, numbers: range) -> Counter[str]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> str:
        async with gate:
            return await live(local, number)

    async with asyncio.timeout(300):
        return Counter(await asyncio.gather(*map(one, numbers)))


def below(pid: int) -> list[int]:
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        children += map(int, (task / "children").read_text().split())
    return [found for child in children for found in (child, *below(child))]


def held(tmp: Path) -> dict[str, Any]:
    """What this process and all below it hold of the machine."""
    descriptors: Counter[str] = Counter()
    for fd in os.listdir("/proc/self/fd"):
        try:
            kind = os.readlink(f"/proc/self/fd/{fd}").split(":")[0]
            descriptors[BOX_FOLDER.sub("/box/", kind)] += 1
        except OSError:
            continue  # the one that lists them
    processes = below(os.getpid())
    groups = [top for top, _, _ in os.walk("/sys/fs/cgroup") if f"host-{os.getpid()}-" in top]
    return {
        "descriptors": sum(descriptors.values()),
        "kinds of descriptors": dict(descriptors),
        "threads": len(os.listdir("/proc/self/task")),
        "processes": len(processes),
        "mounts": [mounts(pid) for pid in ("self", *processes)],
        "groups": len(groups),
        "files": sorted(path.name for path in tmp.rglob("*")),
        "tasks": len(asyncio.all_tasks()),
    }


def mounts(pid: int | str) -> int:
    try:
        return len(Path(f"/proc/{pid}/mountinfo").read_text().splitlines())
    except OSError:
        return -1  # it is just ending


def anonymous_bytes(pid: int | str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


async def at_rest(local: LocalSandbox, tmp: Path) -> dict[str, Any]:
    """What is held when nothing has changed for a while: the last groups are just being removed."""
    seen: list[dict[str, Any]] = []
    async with asyncio.timeout(30):
        while len(seen) < 5 or any(one != seen[-1] for one in seen[-5:]):
            await asyncio.sleep(0.05)
            if local._pool.ready == POOL:
                seen.append(held(tmp))
    gc.collect()
    return seen[-1]


async def test_lives_of_every_kind_leave_nothing_behind(
    local: LocalSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    threads = os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()
    full = threading.Barrier(min(32, (threads or 1) + 4))  # the event loop's pool, whole
    await asyncio.gather(*(asyncio.to_thread(full.wait) for _ in range(full.parties)))
    await lives(local, range(WARM_UP))
    before = await at_rest(local, tmp_path)
    memory_before = {pid: anonymous_bytes(pid) for pid in ("self", *below(os.getpid())[:2])}

    ended = await lives(local, range(WARM_UP, WARM_UP + LIVES))

    assert set(ended) == {"ok", "timed_out", "died", "interrupted", "left"}
    after = await at_rest(local, tmp_path)
    assert after == before
    assert await local.containers() == []
    grown = {pid: anonymous_bytes(pid) - was for pid, was in memory_before.items()}
    assert max(grown.values()) < GROWTH_BYTES_MAX, grown
