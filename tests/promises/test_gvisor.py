"""
The promises of a box, kept behind gVisor: the same probes, the same life.

Needs root and runsc. A box takes about a second to restore, so the probes share one as long as it
lives, and a probe that ends its box is an answer too where `elsewhere` says so.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from sanderling.environments.environment import Environment
from sanderling.sandbox import spawner as spawners
from sanderling.sandbox.base import BoxLimits, Error, Image, Logs, Result
from sanderling.sandbox.box import Box
from sanderling.sandbox.data_folder import DataFolder
from sanderling.sandbox.gvisor.maker import GvisorFacts, GvisorSpawner
from sanderling.sandbox.shown import CellEnded, Shown
from sanderling.sandbox.spawner import Spawner
from tests.promises import probes
from tests.promises.probes import PROBES, SURVIVED, Probe, printed
from tests.sandbox.stages import until

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(os.geteuid() != 0, reason="gVisor boxes need root"),
    pytest.mark.skipif(shutil.which("runsc") is None, reason="gVisor (runsc) is not installed"),
]

MEMORY_BYTES = 512 << 20
PRELOAD = ("numpy", "pandas", "matplotlib.pyplot")

EVERY_PROBE = pytest.mark.parametrize(
    "probe", [pytest.param(p, id=p.promise.replace(" ", "_")) for p in PROBES if p.applies]
)


@pytest.fixture(scope="module")
def few_inodes() -> Iterator[None]:
    """A file takes 0.4 ms to make behind gVisor: a hundred thousand of them take long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spawners, "INODES_MAX", 2000)
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def spawner(guest_env: Environment, few_inodes: None) -> AsyncIterator[Spawner]:
    with probes.planted_secret():
        made = await GvisorSpawner.start(
            env=guest_env.path, disk_bytes=64 << 20, logs_bytes_max=1 << 20, preload=PRELOAD
        )
    yield made
    await made.close()


class Shared:
    """A box that lives, for those who do not mind what was done in it before."""

    def __init__(self, spawner: Spawner) -> None:
        self._spawner = spawner
        self._box: Box | None = None

    async def __call__(self) -> Box:
        if self._box is None or self._box.is_dead:
            await self.close()
            self._box = await self._spawner.spawn()
            await self._box.configure(BoxLimits(memory_bytes=MEMORY_BYTES))
        return self._box

    async def close(self) -> None:
        box, self._box = self._box, None
        if box is not None:
            await end(box)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def take(spawner: Spawner) -> AsyncIterator[Shared]:
    shared = Shared(spawner)
    yield shared
    await shared.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def take_hostile(spawner: Spawner) -> AsyncIterator[Shared]:
    """One for the probes alone."""
    shared = Shared(spawner)
    yield shared
    await shared.close()


async def end(box: Box) -> None:
    box.kill()
    await box.wait_dead()
    box.release()


async def shown_by(box: Box, code: str) -> list[Shown]:
    return [shown async for shown in box.run_cell(code)]


def inside(pid: int) -> list[int]:
    """Return the machine's numbers of all processes of the box whose init is `pid`."""
    found = [pid]
    for process in found:
        for task in Path(f"/proc/{process}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def lives(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


# ---- what hostile code gets --------------------------------------------------------------------


# What the probe before left open. Its variables first: a file that is closed behind the back of its
# object would close whatever has its number by the time the object goes.
FORGET = """
import gc, os
for name in [n for n in globals() if not n.startswith("_") and n not in ("In", "Out", "gc", "os")]:
    del globals()[name]
gc.collect()
os.closerange(7, 1024)
"""


@EVERY_PROBE
async def test_promise(take_hostile: Shared, probe: Probe) -> None:
    box = await take_hostile()
    await printed(box, FORGET)
    answer, afterwards = await probes.run(box, probe)

    assert re.fullmatch(probe.expected("gvisor"), answer), answer
    assert afterwards == (SURVIVED if answer else ""), "the kernel did not survive"


async def test_what_the_machine_sees_of_a_box_is_nobody_behind_a_filter(
    take: Shared,
) -> None:
    box = await take()
    for pid in inside(box.pid):
        status = Path(f"/proc/{pid}/status").read_text()
        uids = set(re.findall(r"Uid:\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)", status)[0])
        assert all(1_900_000_000 <= int(uid) < 1_900_065_536 for uid in uids), status
        if pid != box.pid:
            assert "Seccomp:\t2" in status
        for name in ("mnt", "net", "pid", "user", "ipc", "uts"):
            assert os.readlink(f"/proc/{pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}")


async def test_boxes_share_neither_files_nor_sockets_nor_random_numbers(spawner: Spawner) -> None:
    code = (
        "import os, random, secrets, socket, ssl, tempfile, uuid, numpy\n"
        "print(os.path.exists('/tmp/secret'), os.listdir('/dev/shm'), os.listdir('/mnt/data'))\n"
        "for folder in ('/tmp', '/dev/shm', '/mnt/data'): open(folder + '/secret', 'w').close()\n"
        "s = socket.socket(socket.AF_UNIX); s.bind('\\0shared')\n"
        "print(random.random(), numpy.random.rand(), uuid.uuid4(), os.urandom(8).hex(),"
        " ssl.RAND_bytes(8).hex(), secrets.token_hex(), tempfile.mktemp(),"
        " numpy.random.default_rng().random())"
    )
    boxes = [await spawner.spawn() for _ in range(2)]
    answers = [(await printed(box, code)).splitlines() for box in boxes]
    for box in boxes:
        await end(box)

    assert [first for first, _ in answers] == ["False [] []"] * 2
    assert not set(answers[0][1].split()) & set(answers[1][1].split())


# ---- its life ----------------------------------------------------------------------------------


async def test_it_says_on_what_it_runs(spawner: Spawner) -> None:
    assert isinstance(spawner.facts, GvisorFacts)
    assert spawner.facts.platform in {"systrap", "ptrace"}
    assert set(spawner.facts.modules) == set(PRELOAD)


async def test_processes_that_were_spawned_wake_each_other(take: Shared) -> None:
    """Named semaphores work across processes that have not inherited them."""
    box = await take()
    code = (
        "import multiprocessing as m\n"
        "with m.get_context('spawn').Pool(2) as pool: print(pool.map(abs, [-1, -2, 3]))"
    )

    assert await printed(box, code) == "[1, 2, 3]"


async def test_variables_tables_and_figures(take: Shared) -> None:
    box = await take()
    await shown_by(box, "import pandas; t = pandas.DataFrame({'a': [1, 2]})")

    code = (
        "import matplotlib.pyplot as p; p.plot(t['a']); p.title('Öl'); p.show(); int(t['a'].sum())"
    )
    *shown, _ = await shown_by(box, code)

    assert [type(s) for s in shown] == [Image, Result]
    assert isinstance(shown[0], Image)
    assert shown[0].data.startswith(b"\x89PNG")
    assert shown[1] == Result("3")


async def test_output_keeps_its_order_across_programs(take: Shared) -> None:
    code = (
        "import os, subprocess, sys\n"
        "for n in range(20):\n"
        "    print('a', n); subprocess.run(['echo', f'b {n}'])\n"
        "    os.system(f'echo c {n} > /dev/stderr'); print('d', n, file=sys.stderr)"
    )
    shown = await shown_by(await take(), code)

    text = "".join(s.text for s in shown if isinstance(s, Logs))
    assert text.split("\n") == [f"{letter} {n}" for n in range(20) for letter in "abcd"] + [""]


async def test_ten_megabytes_of_output_are_cut_in_the_middle(
    take: Shared,
) -> None:
    code = (
        "import subprocess\nsubprocess.run(['head', '-c', '10485760', '/dev/zero']); print('end')"
    )
    shown = await shown_by(await take(), code)

    ended = shown[-1]
    assert isinstance(ended, CellEnded)
    assert ended.dropped_bytes >= 8 << 20
    logs = [s.text for s in shown if isinstance(s, Logs)]
    assert sum(map(len, logs)) < 2 << 20
    assert logs[-1].endswith("end\n")


async def test_an_interrupt_ends_the_cell_and_keeps_the_variables(
    take: Shared,
) -> None:
    box = await take()
    await shown_by(box, "import time; kept = 1")
    cell = box.run_cell("print('begun')\nwhile True: time.sleep(0.01)")
    assert await anext(cell) == Logs("stdout", "begun\n")

    box.interrupt()
    error, ended = [shown async for shown in cell]

    assert isinstance(error, Error)
    assert error.name == "KeyboardInterrupt"
    assert isinstance(ended, CellEnded)
    assert ended.status == "interrupted"
    assert await printed(box, "print(kept)") == "1"


async def test_an_interrupt_is_never_the_next_cells(take: Shared) -> None:
    box = await take()
    for _ in range(5):
        cell = box.run_cell("print('begun')\nwhile True: pass")
        await anext(cell)
        for _ in range(3):
            box.interrupt()
        assert [type(shown) async for shown in cell] == [Error, CellEnded]
        assert await printed(box, "import time; time.sleep(0.05); print('whole')") == "whole"


async def test_too_much_memory_is_an_error_first(take: Shared) -> None:
    code = (
        "held = []\n"
        "try:\n"
        "    while True: held.append(bytearray(32 << 20))\n"
        "except MemoryError: found = len(held) * 32 << 20; held.clear()\n"
        "print(found >= 512 << 20, found < 800 << 20)"
    )
    assert await printed(await take(), code) == "True True"


async def test_files_are_the_same_inside_and_outside(take: Shared) -> None:
    async def content(data: bytes) -> AsyncIterator[bytes]:
        yield data

    box = await take()
    files = DataFolder(box.data_fd, box.file_owner)
    await files.write("/mnt/data/in/a.txt", content(b"first"))
    assert await printed(box, "print(open('/mnt/data/in/a.txt').read())") == "first"
    await files.write("/mnt/data/in/a.txt", content(b"second, longer"))
    answer = await printed(
        box,
        "print(open('/mnt/data/in/a.txt').read(), end=' ')\n"
        "with open('/mnt/data/in/a.txt', 'a') as f: print(f.write('!'), end=' ')\n"
        "import os; os.rename('/mnt/data/in/a.txt', '/mnt/data/b.txt')\n"
        "print(os.listdir('/mnt/data/in'))",
    )
    assert answer == "second, longer 1 []"
    read = b"".join([chunk async for chunk in files.read("/mnt/data/b.txt")])
    assert read == b"second, longer!"
    assert await files.delete("/mnt/data/b.txt")
    assert await printed(box, "print(os.path.exists('/mnt/data/b.txt'))") == "False"
    files.close()


async def test_a_new_kernel_finds_the_files_of_the_dead_one_and_nothing_else(
    spawner: Spawner,
) -> None:
    box = await spawner.spawn()
    await box.configure(BoxLimits(memory_bytes=MEMORY_BYTES))
    await printed(
        box,
        "import subprocess; x = 1; open('/mnt/data/kept.txt', 'w').write('kept')\n"
        "subprocess.Popen(['sleep', '600'], start_new_session=True)",
    )
    processes = inside(box.pid)
    ended = asyncio.create_task(shown_by(box, "import os; os._exit(3)"))
    await box.wait_dead()
    last = (await ended)[-1]
    assert isinstance(last, CellEnded)
    assert (last.status, last.is_out_of_memory) == ("died", False)
    assert not [pid for pid in processes if lives(pid)]

    successor = await spawner.respawn(box)
    await successor.configure(BoxLimits(memory_bytes=MEMORY_BYTES))
    answer = await printed(
        successor,
        "import os; print(open('/mnt/data/kept.txt').read(), 'x' in globals(), os.getpid(),"
        " [n for n in os.listdir('/proc') if n.isdigit()])",
    )
    await end(successor)

    assert answer == "kept False 1 ['1']"


async def test_a_box_stands_still_when_frozen_and_dies_when_killed_there(
    spawner: Spawner, take: Shared
) -> None:
    box = await spawner.spawn()
    await box.configure(BoxLimits(memory_bytes=MEMORY_BYTES))
    await printed(
        box,
        "import threading, time\nn = 0\n"
        "def count():\n    global n\n    while True: n += 1; time.sleep(0.001)\n"
        "threading.Thread(target=count, daemon=True).start()",
    )
    box.freeze()
    await until(lambda: box.is_still)

    def ticks() -> list[str]:
        stats = (Path(f"/proc/{pid}/stat").read_text() for pid in inside(box.pid))
        return [" ".join(stat.rpartition(")")[2].split()[11:13]) for stat in stats]

    before = ticks()
    await printed(await take(), "import time; time.sleep(0.3)")
    assert ticks() == before
    assert int(await printed(box, "print(n)")) > 0  # `run_cell` thaws

    box.freeze()
    await end(box)
    assert box.is_dead


async def test_a_box_that_needs_too_much_memory_as_a_whole_is_stopped_for_it(
    spawner: Spawner,
) -> None:
    box = await spawner.spawn()
    await box.configure(BoxLimits(memory_bytes=64 << 20))
    code = (
        "import os, time\n"
        "for _ in range(40):\n"
        "    if os.fork() == 0:\n"
        "        held = bytearray(b'x' * (50 << 20)); time.sleep(60); os._exit(0)\n"
        "time.sleep(60)"
    )
    ended = (await shown_by(box, code))[-1]
    assert isinstance(ended, CellEnded)
    assert (ended.status, ended.is_out_of_memory) == ("died", True)
    await end(box)


async def test_nothing_is_left_of_a_box_that_was_closed(
    spawner: Spawner, take: Shared, take_hostile: Shared
) -> None:
    def left() -> tuple[int, int, str]:
        groups = sum(len(list(folder.glob("*/"))) for folder in spawner._cgroups.parents.values())
        return len(os.listdir("/proc/self/fd")), groups, Path("/proc/self/mountinfo").read_text()

    living = [await take(), await take_hostile()]
    groups = len(living) * len(spawner._cgroups.parents)
    await until(lambda: left()[1] == groups)  # those of other tests are on their way
    before = left()
    box = await spawner.spawn()
    processes = inside(box.pid)
    assert left() != before
    await end(box)

    assert not [pid for pid in processes if lives(pid)]
    await until(lambda: left() == before)  # the control group is removed in a thread


HOST = """
import asyncio, sys
from pathlib import Path
from sanderling.sandbox.gvisor.maker import GvisorSpawner

async def main():
    spawner = await GvisorSpawner.start(
        env=Path(sys.argv[1]), disk_bytes=1 << 20, logs_bytes_max=1024, preload=()
    )
    box = await spawner.spawn()
    print(spawner.pid, box.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_a_host_that_is_killed_leaves_no_process_and_no_mount(
    guest_env: Environment,
) -> None:
    host = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOST, guest_env.path, stdout=asyncio.subprocess.PIPE
    )
    assert host.stdout is not None
    line = (await host.stdout.readline()).decode()
    processes = {found for pid in line.split() for found in inside(int(pid))}
    pidfds = [os.pidfd_open(pid) for pid in processes]
    mounts = Path("/proc/self/mountinfo").read_text()

    host.send_signal(signal.SIGKILL)
    await host.wait()

    assert len(processes) > 4
    for pidfd in pidfds:
        await gone(pidfd)
        os.close(pidfd)
    assert Path("/proc/self/mountinfo").read_text() == mounts


async def gone(pidfd: int) -> None:
    """Wait until a process has ended."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(pidfd, ended.set)
    async with asyncio.timeout(20):
        await ended.wait()
    asyncio.get_running_loop().remove_reader(pidfd)
