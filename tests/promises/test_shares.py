"""
What the processes of a box can use together, and beside others.

The tests run twice: with the control groups of this machine, and as on one that has none, where
the limits are soft.
"""

from __future__ import annotations

import asyncio
import os
import subprocess

import pytest

from sanderling.sandbox.base import BoxLimits, Logs, Result
from sanderling.sandbox.watchdog import SLACK_BYTES
from tests.plain_user import PlainServer, PlainUser
from tests.promises.places import Place, local, place, without_groups

__all__ = ["local", "place", "without_groups"]  # pytest finds fixtures by their names
pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="module")]

OUT_OF_MEMORY = "The code needed more than its 1 GiB of memory and was stopped."
FILL = """
import mmap, os, time
def fill(kept):
    for place in range(0, len(kept), 1 << 20): kept[place : place + (1 << 20)] = bytes(1 << 20)
    return kept
"""
PRIVATE = (
    FILL
    + """
for _ in range(4):
    if os.fork() == 0:
        kept = fill(bytearray(400 << 20))
        time.sleep(1000)
time.sleep(1000)
"""
)
SHARED = (
    FILL
    + """
kept = [fill(mmap.mmap(-1, 400 << 20)) for _ in range(4)]
time.sleep(1000)
"""
)
UNNAMED = (
    FILL
    + """
kept = [os.memfd_create('hidden') for _ in range(4)]
for fd in kept:
    for _ in range(400): os.write(fd, bytes(1 << 20))
time.sleep(1000)
"""
)
# Zeros, read all over the addresses: a page table for each two megabytes.
TABLES = """
import mmap, time
flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE
seen = mmap.mmap(-1, 1 << 42, flags=flags, prot=mmap.PROT_READ)
for number in range((1600 << 20) // 4096): seen[number << 21]
time.sleep(1000)
"""
SOCKETS = """
import os, socket, time
for _ in range(9):
    if os.fork() == 0:
        pairs = []
        while len(pairs) < 500: pairs.append(socket.socketpair())
        time.sleep(1000)
time.sleep(1000)
"""


@pytest.mark.parametrize("code", [PRIVATE, SHARED, UNNAMED], ids=["private", "shared", "unnamed"])
async def test_memory_that_no_process_alone_answers_for_is_counted(place: Place, code: str):
    await place.run("open('kept', 'w').write('kept')")

    [*_, ended] = await place.run(code, "hog")

    assert ended.status == "out_of_memory"
    assert ended.notice.startswith(OUT_OF_MEMORY)
    assert (await place.run("open('kept').read()", "next"))[0] == Result("'kept'")


@pytest.mark.parametrize("code", [TABLES, SOCKETS], ids=["tables", "sockets"])
async def test_what_the_kernel_holds_for_a_box_is_counted_where_no_group_does(
    place: Place, without_groups: bool, code: str
):
    if not without_groups:
        pytest.skip("a group counts it against its limit")

    [*_, ended] = await place.run(code)

    assert ended.status == "out_of_memory"


async def test_what_processes_share_counts_once_and_files_not_at_all(place: Place):
    code = (
        FILL
        + "with open('large', 'wb') as file:\n"
        + "    for _ in range(700): file.write(bytes(1 << 20))\n"
        + "kept = fill(bytearray(400 << 20))\n"
        + "for _ in range(5):\n"
        + "    if os.fork() == 0:\n"
        + "        open(f'ready {os.getpid()}', 'w').close()\n"
        + "        time.sleep(1000)\n"
        + "file = open('large', 'rb')\n"
        + "shown = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)\n"
        + "_ = sum(shown[place] for place in range(0, len(shown), 4096))\n"
        + "while sum(name.startswith('ready') for name in os.listdir('.')) < 5: time.sleep(0.01)\n"
    )
    assert (1 << 30) + SLACK_BYTES < (5 + 1) * (400 << 20)

    # Long enough for some looks.
    [ended] = await place.run(code + "time.sleep(0.5)")

    assert (ended.status, ended.notice) == ("ok", None)


async def test_processors_are_limited_and_a_cell_that_runs_out_of_time_is_told_so(
    place: Place, without_groups: bool
):
    name = place.container_id = f"{place.container_id}-slow"
    await place.local.create(name, BoxLimits(memory_bytes=1 << 30, cpu_count=0.05))

    [*_, ended] = await place.run("while True: pass", timeout_s=1.0)
    [result, _] = await place.run(
        "import os; len(os.sched_getaffinity(0)), os.environ['OMP_NUM_THREADS'], os.nice(0)", "next"
    )

    assert ended.status == "timed_out"
    count = 1 if without_groups else os.cpu_count()
    assert result == Result(f"({count}, '1', {5 if without_groups else 0})")
    assert ("at most 0.05 processors" in ended.notice) == (not without_groups)


async def test_a_box_cannot_take_back_what_it_gave_way_with(place: Place, without_groups: bool):
    if not without_groups:
        pytest.skip("there is nothing to take back")
    code = "import os\ntry: os.setpriority(0, 0, 0)\nexcept OSError as error: print(error.errno)"

    [printed, _] = await place.run(code)

    assert printed == Logs("stdout", "13\n")


async def test_the_host_says_which_limits_are_soft(place: Place, without_groups: bool):
    status = await place.local.status()

    if without_groups:
        assert status.cgroups == "none"
        assert len(status.soft_limits) == 3
    else:
        assert status.cgroups != "none"


async def test_a_plain_user_is_held_to_the_memory_of_a_box(
    plain_user: PlainUser, plain_server: PlainServer
) -> None:
    command = [plain_server.python, "-m", "sanderling", "exec", "-c", PRIVATE]
    done = await asyncio.to_thread(
        subprocess.run,
        [*command, "--env", plain_server.guest_env.path],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **plain_user.options(),
    )

    assert OUT_OF_MEMORY in done.stderr
    assert done.returncode != 0
