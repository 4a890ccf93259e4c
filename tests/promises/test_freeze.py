"""
Between its cells a box stands still: whatever a cell left running burns nothing until the next one.

The tests run twice: with the control groups of this machine, and as on one that has none.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sanderling.environments.environment import Environment
from sanderling.sandbox import freezer
from sanderling.sandbox.base import Result
from sanderling.sandbox.launch import HostProcess, launch
from sanderling.sandbox.processes import Processes
from tests.doubles import bare_host
from tests.promises.places import DEADLINE_S, LIMITS, Place, local, place, until, without_groups

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="module")]

__all__ = ["local", "place", "without_groups"]  # pytest finds fixtures by their names
CHANGING = "/mnt/data/changing"
QUIET_S = 0.1  # ten ticks of the clock that counts processors' time

THREAD = """
import threading
count = 0
def spin():
    global count
    while True: count += 1
threading.Thread(target=spin, daemon=True).start()
"""
DAEMON = """
import os
if os.fork() == 0:
    os.setsid()
    if os.fork(): os._exit(0)
    count = 0
    while True:
        count += 1
        if count % 100_000 == 0: os.utime('/mnt/data')
else:
    os.wait()
"""
TIMER = """
import signal
import sys
count = 0
def tick(*_):
    global count
    count += 1
signal.signal(signal.SIGALRM, tick)
_ = signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
"""
# Each process begins the next one and ends: never the same number twice, never none of them.
RUNNER = """
import os
if os.fork() == 0:
    os.setsid()
    while True:
        if os.fork(): os._exit(0)
"""
FLOOD = """
import os, subprocess, threading
def flood():
    while True: os.write(1, b'x' * 4096)
def start():
    while True: subprocess.run(['/bin/true'])
for _ in range(3): threading.Thread(target=flood, daemon=True).start()
for _ in range(3): threading.Thread(target=start, daemon=True).start()
"""


LEFT_RUNNING = pytest.mark.parametrize(
    "code",
    [
        pytest.param(THREAD, id="thread"),
        pytest.param(DAEMON, id="daemon"),
        pytest.param(TIMER, id="timer"),
        pytest.param(RUNNER, id="runner"),
        pytest.param(FLOOD, id="flood"),
    ],
)


@LEFT_RUNNING
async def test_what_a_cell_leaves_running_burns_nothing_until_the_next(place: Place, code: str):
    await place.run(code)
    await place.frozen()

    before = place.ticks()
    await asyncio.sleep(QUIET_S)

    assert place.ticks() == before
    [*shown, ended] = await place.run("6 * 7", "next")
    assert Result("42") in shown
    assert (ended.status, ended.is_fresh) == ("ok", False)


@pytest.mark.parametrize("code", [THREAD, TIMER], ids=["thread", "timer"])
async def test_it_goes_on_where_it_was_with_the_next_cell(place: Place, code: str):
    await place.run(code)
    await place.frozen()

    await place.run("before = count", "second")
    await place.frozen()
    [result, _] = await place.run(
        "import time\nwhile count == before: time.sleep(0.001)\ncount > before", "third"
    )

    assert result == Result("True")


async def test_what_runs_when_a_cell_ends_stands_still_while_its_files_are_looked_at(place: Place):
    code = THREAD.replace("count += 1", "open('/mnt/data/changing', 'a').write('x')")
    [*_, ended] = await place.run(code + "import os\nwhile not os.path.exists('changing'): pass")
    await place.frozen()

    content = b"".join([c async for c in place.local.read_file(place.container_id, CHANGING)])

    assert [(file.path, file.bytes) for file in ended.changed] == [(CHANGING, len(content))]


async def test_files_of_a_frozen_box_are_written_and_read(place: Place):
    await place.run(THREAD)
    await place.frozen()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"new"

    await place.local.write_file(place.container_id, CHANGING, chunks())

    assert place.box.is_still
    assert (await place.run("open('changing').read()", "next"))[0] == Result("'new'")


async def test_a_process_that_the_code_stopped_stays_so(place: Place):
    await place.run(
        "import os, signal\n"
        "if (child := os.fork()) == 0:\n"
        "    os.kill(os.getpid(), signal.SIGSTOP)\n"
        "    open('went on', 'w').close(); os._exit(0)\n"
        "_ = os.waitpid(child, os.WUNTRACED)"
    )
    await place.frozen()

    code = "open(f'/proc/{child}/stat').read().split()[2], os.path.exists('went on')"
    [result, _] = await place.run(code, "next")

    assert result == Result("('T', False)")


async def test_an_interrupt_wakes_nobody(place: Place):
    await place.run(THREAD)
    await place.frozen()

    assert not await place.local.interrupt(place.container_id, "e")
    assert place.box.is_still
    assert (await place.run("6 * 7", "next"))[0] == Result("42")


async def test_code_that_arranged_to_be_woken_does_not_get_far(
    place: Place, without_groups: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(freezer, "LOOK_AGAIN_S", 0.02)
    await place.run(THREAD)
    await place.frozen()
    before = place.ticks()
    box, beginning = place.box, asyncio.get_running_loop().time()

    # As a timer of its own might; those of some kernels lose their signal to the one that stops.
    def wake_and_look() -> bool:
        with contextlib.suppress(ProcessLookupError):
            os.kill(box.pid, signal.SIGCONT)
        return box.is_dead or asyncio.get_running_loop().time() > beginning + QUIET_S

    if without_groups:
        await until(lambda: wake_and_look() and box.is_dead)
        [*_, ended] = await place.run("pass", "next")
        assert ended.is_fresh
    else:
        await until(wake_and_look)
        assert place.ticks() == before


async def test_a_daemon_does_not_outlive_its_box(place: Place):
    await place.run(DAEMON)
    await place.frozen()
    pids = Processes(place.box.pid).all()
    assert len(pids) > 1

    await place.local.close(place.container_id)

    await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


async def test_a_frozen_kernel_is_replaced_when_it_dies(place: Place):
    await place.run("x = 1\nopen('kept', 'w').write('kept')\n" + THREAD)
    await place.frozen()
    place.box.kill()
    await place.box.wait_dead()

    [result, ended] = await place.run("'x' in globals(), open('kept').read()", "next")

    assert result == Result("(False, 'kept')")
    assert ended.is_fresh


# ---- those who keep it ---------------------------------------------------------------------------


async def test_boxes_of_a_zygote_that_dies_die_though_they_are_frozen(place: Place):
    await place.run(DAEMON)
    await place.frozen()
    pids = Processes(place.box.pid).all()
    maker = place.local._pool._maker
    assert maker is not None
    [inner] = Processes(maker.pid).all()[1:2]

    os.kill(inner, signal.SIGKILL)

    await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    await until(lambda: place.local._pool._maker not in (None, maker))


async def test_a_host_that_is_killed_leaves_nothing_frozen_to_its_successor(
    tmp_path: Path, guest_env: Environment, without_groups: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    if without_groups:
        pytest.skip("the stopped die with their zygote; what is frozen is the question here")
    old = await launched(tmp_path / "data", guest_env)
    async with asyncio.timeout(DEADLINE_S):
        await old.client.create("cntr_a", LIMITS)
        shown = old.client.execute("cntr_a", "e", DAEMON, timeout_s=DEADLINE_S)
        assert [h async for h in shown][-1].status == "ok"
    processes = Processes(old.pid)
    folders = {f for f in groups_of(old.pid) for f in (f, *f.glob("*/"))}
    assert len(folders) > 1
    await until(lambda: all("FROZEN" in text for text in states(folders)))
    pids = processes.all()
    assert len(pids) > 4  # the host, two of the zygote, the kernel and its daemon

    os.kill(old.pid, signal.SIGKILL)
    await asyncio.to_thread(os.waitpid, old.pid, 0)
    new = await launched(tmp_path / "data", guest_env)
    try:
        await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
        assert not any(folder.exists() for folder in folders)
    finally:
        await new.stop()


async def launched(data: Path, guest_env: Environment) -> HostProcess:
    _, process = await launch(
        env=guest_env.path,
        data=data,
        pool_size=0,
        boxes_max=5,
        disk_bytes=64 << 20,
        logs_bytes_max=1 << 16,
        command=(sys.executable, "-m", bare_host.__name__),
    )
    return process


def groups_of(pid: int) -> list[Path]:
    return [
        Path(top, name)
        for top, names, _ in os.walk("/sys/fs/cgroup")
        for name in names
        if name.startswith(f"sanderling-host-{pid}-")
    ]


def states(folders: set[Path]) -> list[str]:
    """What the freezers of the boxes say."""
    found: list[str] = []
    for folder in folders:
        with contextlib.suppress(OSError):
            if not folder.name.startswith("sanderling-host-"):
                found.append((folder / "freezer.state").read_text())
        with contextlib.suppress(OSError):
            if not folder.name.startswith("sanderling-host-"):
                is_frozen = "frozen 1" in (folder / "cgroup.events").read_text()
                found.append("FROZEN" if is_frozen else "THAWED")
    return found
