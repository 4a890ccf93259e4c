"""
What hostile code in one box can do to the host and to the other boxes: nothing they would notice.

The code here does not try to get out. It uses what it has been given (its end of the socket, its
pipes, time between cells) against those who listen, and dies and comes back to find a gap in the
wall.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sanderling.environments.environment import Environment
from sanderling.sandbox.base import BoxLimits, Logs
from sanderling.sandbox.box import Box
from sanderling.sandbox.shown import CellEnded
from sanderling.sandbox.spawner import Spawner
from tests.promises.probes import PROBES, SURVIVED, TOOLS, Probe, printed

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="module")]

LIMITS = BoxLimits(memory_bytes=1 << 30)
DEADLINE_S = 20.0
DISK_BYTES = 64 << 20

# What the code needs to speak as its kernel does; every secret of the kernel's lies in its memory.
SPEAK = """
import json, os, socket, struct, subprocess, sys, time
from sanderling.kernel.channel import Channel
frame, channel = sys._getframe(), None
while channel is None:
    channel = next((v._channel for v in frame.f_locals.values() if hasattr(v, '_channel')), None)
    frame = frame.f_back
assert isinstance(channel, Channel)
host, nonce = channel._host, channel._nonce
def message(op, body=b'', **fields):
    return json.dumps({'op': op, 'nonce': nonce, **fields}).encode() + b'\\n' + body
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def spawner(guest_env: Environment) -> AsyncIterator[Spawner]:
    made = await Spawner.start(env=guest_env.path, disk_bytes=DISK_BYTES, logs_bytes_max=1 << 20)
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="module")
async def box(spawner: Spawner) -> AsyncIterator[Box]:
    made = await spawner.spawn()
    await made.configure(LIMITS)
    yield made
    await end(made)


@pytest_asyncio.fixture(loop_scope="module")
async def other(spawner: Spawner) -> AsyncIterator[Box]:
    made = await spawner.spawn()
    await made.configure(LIMITS)
    yield made
    await end(made)


async def end(box: Box) -> None:
    box.kill()
    await box.wait_dead()
    box.release()


async def ended(box: Box, code: str) -> CellEnded:
    shown = [s async for s in box.run_cell(code)]
    assert isinstance(shown[-1], CellEnded)
    return shown[-1]


async def until_there(box: Box, name: str) -> str:
    """Wait for a file in /mnt/data without waking the box; return what is in it."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                fd = os.open(name, os.O_RDONLY, dir_fd=box.data_fd)
            except FileNotFoundError:
                await asyncio.sleep(0.01)
                continue
            try:
                return os.read(fd, 1000).decode()
            finally:
                os.close(fd)


# ---- the host must never wait -------------------------------------------------------------------


async def test_no_flag_a_box_sets_makes_the_host_wait_for_a_pipe(box: Box) -> None:
    answer = await printed(
        box,
        "import os\n"
        "for fd in (4, 5): os.set_blocking(fd, True)\n"
        "print(*[os.fstat(fd).st_ino for fd in (4, 5)])",
    )
    pipes = {f"pipe:[{inode}]" for inode in answer.split()}

    ours = [fd for fd in map(int, os.listdir("/proc/self/fd")) if _target(fd) in pipes]

    assert len(ours) == 2
    assert not any(os.get_blocking(fd) for fd in ours)


def _target(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except FileNotFoundError:
        return ""  # the one that listed the folder


async def test_a_box_that_sends_a_lingering_socket_is_ended_and_nobody_waits(
    box: Box, other: Box
) -> None:
    # Who closes it last waits for an hour, because its other end never reads.
    code = (
        "server = socket.socket(); server.bind(('127.0.0.1', 0)); server.listen()\n"
        "client = socket.create_connection(server.getsockname()); there, _ = server.accept()\n"
        "client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 3600))\n"
        "client.setblocking(False)\n"
        "try:\n"
        "    while True: client.send(b'x' * 65536)\n"
        "except BlockingIOError: pass\n"
        "socket.send_fds(host, [message('result', b'x')], [client.fileno()])\n"
        "client.close()\n"
        "time.sleep(3600)"
    )
    async with asyncio.timeout(DEADLINE_S):
        how = await ended(box, SPEAK + code)
        answer = await printed(other, "print(6 * 7)")

    assert how.status == "died"
    assert answer == SURVIVED


async def test_a_flood_between_cells_is_not_listened_to(box: Box) -> None:
    await printed(
        box,
        "import contextlib, os, time\n"
        "if os.fork() == 0:\n"
        "    os.set_blocking(1, False)\n"
        "    count, until = 0, time.monotonic() + 1\n"
        "    while time.monotonic() < until:\n"
        "        with contextlib.suppress(BlockingIOError): count += os.write(1, b'x' * 65536)\n"
        "    open('/mnt/data/part', 'w').write(str(count))\n"
        "    os.rename('/mnt/data/part', '/mnt/data/count'); os._exit(0)",
    )

    # A host that listens takes hundreds of megabytes in a second; what one pipe holds waits.
    assert int(await until_there(box, "count")) < 1 << 20
    text = await printed(box, "print(6 * 7)")
    assert re.sub(r"\[cell 1\] |x", "", text) == SURVIVED


async def test_what_is_said_between_cells_is_not_taken_for_the_next_cells(box: Box) -> None:
    await printed(
        box,
        "import subprocess\n"
        "subprocess.Popen('sleep 0.1; echo between; echo between >&2; echo x > done', shell=True)",
    )
    await until_there(box, "done")

    # How much of it the host takes before the next cell is over is not promised.
    lines = (await printed(box, "print(6 * 7)")).splitlines()
    assert [line for line in lines if line != "[cell 1] between"] == [SURVIVED]


async def test_a_million_changes_between_the_streams_are_not_a_million_entries(box: Box) -> None:
    code = (
        "out, err = (message('logs', b'x', stream=s) for s in ('stdout', 'stderr'))\n"
        "for _ in range(40_000): host.send(out); host.send(err)\n"
    )
    shown = [s async for s in box.run_cell(SPEAK + code)]

    assert sum(isinstance(s, Logs) for s in shown) < 20_000
    assert isinstance(shown[-1], CellEnded)
    assert (shown[-1].status, shown[-1].dropped_bytes > 0) == ("ok", True)


@pytest.mark.parametrize(
    "said",
    [
        "b'[' * 60_000 + b'\\n'",
        'b\'{"op":"ready","python":"3","pid":\' + b\'9\' * 60_000 + b\'}\\n\'',
        "message('image', b'x', mime='text/html', name='x', saved_path=None)",
        "message('error', b'', name='\\ud800', message='')",
        "message('done', status='perfect')",
        "b'\\xff' * 100",
        "b''",
    ],
)
async def test_nonsense_ends_the_box_that_says_it_and_no_other(
    box: Box, other: Box, said: str
) -> None:
    how = await ended(box, f"{SPEAK}\nhost.send({said})\ntime.sleep(60)")

    assert how.status == "died"
    assert await printed(other, "print(6 * 7)") == SURVIVED


# ---- a kernel that takes the place of a dead one ------------------------------------------------


@pytest.mark.parametrize(
    "probe", [pytest.param(p, id=p.promise.replace(" ", "_")) for p in PROBES if p.applies]
)
async def test_promise_holds_for_the_kernel_after_a_crash(spawner: Spawner, probe: Probe) -> None:
    dead = await spawner.spawn()
    await dead.configure(LIMITS)
    await printed(dead, "import ctypes; ctypes.string_at(0)")
    await dead.wait_dead()

    box = await spawner.respawn(dead)
    await box.configure(LIMITS)
    answer = await printed(box, TOOLS + probe.code)
    afterwards = await printed(box, "print(6 * 7)")
    await end(box)

    assert re.fullmatch(probe.expected(), answer), answer
    assert afterwards == SURVIVED
