"""Boxes as the host sees them: what they show, how they end, and that they can do no harm."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from sanderling.environments.environment import Environment
from sanderling.errors import MachineFull, SpawnFailed
from sanderling.sandbox.base import BoxLimits, Error, Image, Logs, Result
from sanderling.sandbox.box import Box
from sanderling.sandbox.shown import CellEnded, Shown
from sanderling.sandbox.spawner import Spawner

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="module")]

LOGS_BYTES_MAX = 10_000
LIMITS = BoxLimits(memory_bytes=256 << 20)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def spawner(guest_env: Environment) -> AsyncIterator[Spawner]:
    made = await Spawner.start(
        env=guest_env.path, disk_bytes=64 << 20, logs_bytes_max=LOGS_BYTES_MAX
    )
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="module")
async def box(spawner: Spawner) -> AsyncIterator[Box]:
    made = await spawner.spawn()
    await made.configure(LIMITS)
    yield made
    made.kill()
    await made.wait_dead()
    made.release()


async def run(box: Box, code: str) -> list[Shown]:
    return [shown async for shown in box.run_cell(code)]


def logs(shown: list[Shown], stream: str = "stdout") -> str:
    return "".join(s.text for s in shown if isinstance(s, Logs) and s.stream == stream)


def ended(shown: list[Shown]) -> CellEnded:
    assert isinstance(shown[-1], CellEnded)
    return shown[-1]


async def test_a_cell_shows_its_output_in_the_order_it_happened(box: Box) -> None:
    shown = await run(
        box,
        "import os, sys, subprocess\n"
        "print('one')\n"
        "subprocess.run(['echo', 'two'])\n"
        "print('three', file=sys.stderr)\n"
        "os.write(1, b'four\\n')\n"
        "print('five')\n"
        "6",
    )

    texts = [s.text.strip() for s in shown[:-1] if isinstance(s, Logs | Result)]
    assert texts == ["one", "two", "three", "four", "five", "6"]
    assert ended(shown) == CellEnded("ok", is_out_of_memory=False, dropped_bytes=0)


async def test_a_new_box_has_run_no_cell(spawner: Spawner) -> None:
    fresh = await spawner.spawn()
    await fresh.configure(LIMITS)
    code = (
        "import linecache, sys\n"
        "print(In[:1], Out, repr(_), [n for n in globals() if not n.startswith('_')])\n"
        "print([n for n in linecache.cache if n.startswith('<cell ')], sys.argv, sys.stdin)\n"
        "1 / 0"
    )
    shown = await run(fresh, code)
    fresh.kill()
    await fresh.wait_dead()
    fresh.release()

    assert logs(shown) == (
        "[''] {} '' ['In', 'Out', 'linecache', 'sys']\n['<cell 1>'] [''] "
        "<_io.TextIOWrapper name=0 mode='r' encoding='utf-8'>\n"
    )
    [error] = [s for s in shown if isinstance(s, Error)]
    assert '"<cell 1>", line 4' in error.traceback


ZOMBIES = (
    "import os\n"
    "def state(pid):\n"
    "    try: return open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[0]\n"
    "    except OSError: return None\n"
    "print(sum(state(pid) == 'Z' for pid in os.listdir('/proc') if pid.isdigit()))"
)


async def until_zombies(box: Box, count: int) -> None:
    async with asyncio.timeout(20):
        while logs(await run(box, ZOMBIES)) != f"{count}\n":
            pass


async def test_orphans_are_buried_and_children_left_to_who_started_them(box: Box) -> None:
    code = (
        "import multiprocessing, os, subprocess\n"
        "subprocess.run('for i in 1 2 3; do true & done', shell=True)\n"
        "program = subprocess.Popen(['sh', '-c', 'exit 7'])\n"
        "child = os.fork()\n"
        "if child == 0: os._exit(8)\n"
        "spawned = os.posix_spawn('/bin/sh', ['sh', '-c', 'exit 9'], {})\n"
        "worker = multiprocessing.Process(target=os._exit, args=(10,)); worker.start()"
    )
    assert ended(await run(box, code)).status == "ok"
    await until_zombies(box, 4)
    for _ in range(3):
        await run(box, "pass")

    shown = await run(
        box,
        "worker.join(); exits = [os.waitstatus_to_exitcode(os.waitpid(p, 0)[1])"
        " for p in (child, spawned)]; [program.wait(), *exits, worker.exitcode]",
    )
    assert shown[0] == Result("[7, 8, 9, 10]")
    await until_zombies(box, 0)


async def test_spawned_processes_know_modules_in_the_data_folder_and_no_folder_outside(
    box: Box,
) -> None:
    code = (
        "import multiprocessing.process, sys\n"
        "with open('mod.py', 'w') as file: file.write('def f(): sys.exit(5)\\nimport sys')\n"
        "import mod\n"
        "worker = multiprocessing.get_context('spawn').Process(target=mod.f)\n"
        "worker.start(); worker.join()\n"
        "worker.exitcode, multiprocessing.process.ORIGINAL_DIR"
    )

    assert (await run(box, code))[0] == Result("(5, '/mnt/data')")


async def test_a_cell_that_leaves_many_orphans_has_room_for_more(box: Box) -> None:
    code = (
        "import subprocess, time\n"
        "for _ in range(40):\n"
        "    subprocess.run(10 * 'true & ', shell=True, check=True)\n"
        "    time.sleep(0.1)"
    )

    assert ended(await run(box, code)).status == "ok"


async def test_a_box_is_in_groups_of_its_own_and_sees_them_as_the_root(
    spawner: Spawner, box: Box
) -> None:
    if spawner.facts.cgroups == "none":
        pytest.skip("there are no control groups here")
    outside = Path(f"/proc/{box.pid}/cgroup").read_text().splitlines()
    memory = [line for line in outside if line.endswith(f"/{box.id}")]

    assert memory
    shown = await run(box, "print(open('/proc/self/cgroup').read())")
    assert box.id not in logs(shown)


def private_bytes(box: Box) -> int:
    lines = Path(f"/proc/{box.pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Private_"))


async def test_a_box_that_waits_has_little_memory_of_its_own(spawner: Spawner) -> None:
    # Several: what only one process has looked at counts as its own.
    boxes = [await spawner.spawn() for _ in range(3)]
    sizes: list[int] = []
    async with asyncio.timeout(20):
        while sizes != (sizes := [private_bytes(box) for box in boxes]):  # noqa: ASYNC110
            await asyncio.sleep(0.1)  # they settle, in processes of their own
    for one in boxes:
        one.kill()
        await one.wait_dead()
        one.release()

    assert max(sizes) < 6 << 20


async def test_programs_may_open_their_output_by_name(box: Box) -> None:
    shown = await run(box, "import os\nos.system('echo out > /dev/stdout; echo err > /dev/stderr')")

    assert (logs(shown), logs(shown, "stderr")) == ("out\n", "err\n")


async def test_variables_persist_between_cells(box: Box) -> None:
    await run(box, "x = 20")

    assert (await run(box, "x + 1"))[0] == Result("21")


async def test_an_exception_is_an_error_with_the_users_own_line(box: Box) -> None:
    shown = await run(box, "def half(n):\n    return n / 0\nhalf(4)")

    [error] = [s for s in shown if isinstance(s, Error)]
    assert (error.name, error.message) == ("ZeroDivisionError", "division by zero")
    assert "return n / 0" in error.traceback
    assert "sanderling" not in error.traceback
    assert ended(shown).status == "error"


async def test_a_figure_comes_back_as_an_image_without_ceremony(box: Box) -> None:
    shown = await run(box, "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3]);")

    [image] = [s for s in shown if isinstance(s, Image)]
    assert image.mime == "image/png"
    assert image.data.startswith(b"\x89PNG")
    assert image.saved_path is None


async def test_a_saved_figure_names_the_file_it_was_saved_to(box: Box) -> None:
    shown = await run(
        box, "import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.savefig('chart.png')"
    )

    [image] = [s for s in shown if isinstance(s, Image)]
    assert (image.name, image.saved_path) == ("chart.png", "/mnt/data/chart.png")


async def test_the_head_of_too_much_output_is_counted_in_bytes(box: Box) -> None:
    shown = await run(box, "print('x' + '€' * 10_000)")

    head = next(s.text for s in shown if isinstance(s, Logs))
    assert set(head[1:]) == {"€"}
    assert LOGS_BYTES_MAX // 2 - 3 < len(head.encode()) <= LOGS_BYTES_MAX // 2
    assert len(logs(shown).encode()) < LOGS_BYTES_MAX * 1.1


async def test_too_much_output_keeps_head_and_tail(box: Box) -> None:
    shown = await run(box, "for i in range(20000): print(f'line {i}')")

    text = logs(shown)
    assert text.startswith("line 0\nline 1\n")
    assert text.endswith("line 19998\nline 19999\n")
    assert "bytes of output left out" in text
    assert len(text) < LOGS_BYTES_MAX + 200
    assert ended(shown).dropped_bytes > 100_000


async def test_one_endless_line_is_kept_within_the_limit(box: Box) -> None:
    shown = await run(box, "import sys\nfor _ in range(2000): sys.stdout.write('x' * 10_000)")

    assert len(logs(shown)) < LOGS_BYTES_MAX + 200
    assert ended(shown).status == "ok"


async def test_an_interrupt_ends_an_endless_loop_and_keeps_the_variables(box: Box) -> None:
    cell = box.run_cell("kept = 1\nprint('on')\nwhile True: pass")
    shown: list[Shown] = []
    async for one in cell:
        shown.append(one)
        if isinstance(one, Logs) and one.text == "on\n":
            box.interrupt()

    assert ended(shown).status == "interrupted"
    assert (await run(box, "kept"))[0] == Result("1")


async def test_memory_runs_out_politely_first(box: Box) -> None:
    shown = await run(box, "block = bytearray(300 << 20)")

    [error] = [s for s in shown if isinstance(s, Error)]
    assert error.name == "MemoryError"
    assert (await run(box, "1 + 1"))[0] == Result("2")


async def test_many_processes_together_cannot_pass_the_memory_limit(
    box: Box, spawner: Spawner
) -> None:
    if spawner.facts.cgroups == "none":
        pytest.skip("without control groups the limit holds per process")
    shown = await run(
        box,
        "import os, signal\n"
        "children = []\n"
        "for _ in range(8):\n"
        "    p = os.fork()\n"
        "    if p == 0:\n"
        "        block = bytearray(b'x') * (100 << 20)\n"
        "        signal.pause()\n"
        "    children.append(p)\n"
        "print(os.WTERMSIG(os.wait()[1]))\n"
        "for p in children: os.kill(p, 9)",
    )

    assert logs(shown) == "9\n"
    assert ended(shown).is_out_of_memory


async def test_a_kernel_that_ends_itself_is_dead_and_its_box_can_be_used_again(
    spawner: Spawner,
) -> None:
    box = await spawner.spawn()
    await box.configure(LIMITS)
    shown = await run(box, "import os; open('a', 'w').close(); print('bye'); os._exit(3)")

    assert logs(shown) == "bye\n"
    assert ended(shown).status == "died"
    assert box.is_dead

    successor = await spawner.respawn(box)
    assert os.listdir(successor.data_fd) == ["a"]
    await successor.configure(LIMITS)
    assert logs(await run(successor, "import os; print(os.listdir())")) == "['a']\n"
    successor.kill()
    await successor.wait_dead()
    successor.release()


@pytest.mark.parametrize(
    "code",
    [
        "import os; os.write(3, b'nonsense')",
        'import os; os.write(3, b\'{"op": "done"}\\n\')',
        "import os; os.write(3, b'[' * 60000 + b'\\n')",
        'import os; os.write(3, b\'{"op":"image","nonce":1}\\n\')',
        "import os; os.close(3)",
        "import socket; socket.socket(fileno=3).shutdown(2)",
    ],
)
async def test_a_cell_that_writes_to_the_hosts_socket_loses_only_its_own_kernel(
    spawner: Spawner, box: Box, code: str
) -> None:
    hostile = await spawner.spawn()
    await hostile.configure(LIMITS)

    shown = await run(hostile, code)
    await hostile.wait_dead()
    hostile.release()

    assert ended(shown).status == "died"
    assert (await run(box, "6 * 7"))[0] == Result("42")


async def test_a_forged_message_of_another_cell_is_dropped(box: Box) -> None:
    shown = await run(
        box,
        "import os\n"
        'header = b\'{"op":"result","nonce":"\' + b\'0\' * 32 + b\'"}\\n\'\n'
        "os.write(3, header + b'forged')\n"
        "print('true')",
    )

    assert logs(shown) == "true\n"
    assert not [s for s in shown if isinstance(s, Result)]


async def test_a_flood_of_messages_does_not_stop_the_host(box: Box, spawner: Spawner) -> None:
    other = await spawner.spawn()
    await other.configure(LIMITS)
    flood = box.run_cell("import os\nprint('on')\nwhile True: os.write(1, b'y' * 65536)")
    async for one in flood:
        if isinstance(one, Logs):
            break

    answer = await run(other, "print('here')")
    box.interrupt()
    shown = [one async for one in flood]
    other.kill()
    await other.wait_dead()
    other.release()

    assert logs(answer) == "here\n"
    assert ended(shown).status == "interrupted"


async def test_a_box_that_is_killed_from_outside_ends_its_cell(spawner: Spawner) -> None:
    box = await spawner.spawn()
    await box.configure(LIMITS)
    cell = box.run_cell("print('on')\nimport time; time.sleep(600)")
    shown: list[Shown] = []
    async for one in cell:
        shown.append(one)
        box.kill()

    assert ended(shown).status == "died"
    box.release()


async def test_closing_leaves_no_descriptor_process_or_group_behind(spawner: Spawner) -> None:
    async def life() -> int:
        box = await spawner.spawn()
        await box.configure(LIMITS)
        await run(box, "import subprocess; subprocess.Popen(['sleep', '600'])")
        box.kill()
        await box.wait_dead()
        box.release()
        return box.pid

    await life()
    before = set(os.listdir("/proc/self/fd"))
    pids = [await life() for _ in range(5)]

    async with asyncio.timeout(10):  # the machine takes a moment to let go of a group
        while len(os.listdir("/proc/self/fd")) > len(before):  # noqa: ASYNC110 - nothing signals it
            await asyncio.sleep(0.01)
    assert not [pid for pid in pids if is_running(pid)]


async def test_a_spawner_that_ends_leaves_no_group_behind(guest_env: Environment) -> None:
    spawner = await Spawner.start(
        env=guest_env.path, disk_bytes=64 << 20, logs_bytes_max=1000, preload=()
    )
    boxes = [await spawner.spawn() for _ in range(3)]
    for box in boxes:
        box.kill()
        await box.wait_dead()
        box.release()
    folders = list(spawner._cgroups.parents.values())
    await spawner.close()

    assert not [folder for folder in folders if folder.exists()]


async def test_a_character_that_came_in_two_halves_by_two_ways_is_whole(box: Box) -> None:
    shown = await run(
        box,
        """
import array, fcntl, os, sys, termios
waiting = array.array("i", [1])
os.write(1, "€".encode()[:2])
while waiting[0]:  # until the host has read the first half
    fcntl.ioctl(4, termios.FIONREAD, waiting)
os.write(1, "€".encode()[2:])  # which the kernel finds before its next message
sys.stderr.write("x\\n")
""",
    )

    assert logs(shown) == "€"


async def test_when_the_zygote_dies_every_box_dies_and_none_is_made(
    guest_env: Environment,
) -> None:
    spawner = await Spawner.start(
        env=guest_env.path, disk_bytes=64 << 20, logs_bytes_max=1000, preload=()
    )
    box = await spawner.spawn()

    os.kill(spawner.pid, signal.SIGKILL)
    await box.wait_dead()
    box.release()
    with pytest.raises(SpawnFailed):
        await spawner.spawn()
    await spawner.close()

    assert not is_running(box.pid)


def is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    return "State:\tZ" not in status


# ---- a zygote that is refused -------------------------------------------------------------------


def limit_pid_namespaces(pid: int, count: int) -> None:
    """Set how many there may be in the user namespace of `pid`."""
    code = (
        "import os, sys; from sanderling.sandbox.wall import linux; "
        "linux.setns(os.open(f'/proc/{sys.argv[1]}/ns/user', os.O_RDONLY), linux.CLONE_NEWUSER); "
        "open('/proc/sys/user/max_pid_namespaces', 'w').write(sys.argv[2])"
    )
    subprocess.run([sys.executable, "-c", code, str(pid), str(count)], check=True, timeout=30)


async def test_a_zygote_that_is_refused_a_namespace_says_so_and_lives_on(
    spawner: Spawner, box: Box
) -> None:
    limit_pid_namespaces(spawner.pid, 0)
    try:
        with pytest.raises(MachineFull):
            await spawner.spawn()
    finally:
        limit_pid_namespaces(spawner.pid, 1 << 20)

    assert Result("2") in await run(box, "1+1")
    other = await spawner.spawn()
    other.kill()
    await other.wait_dead()
    other.release()


async def test_the_heap_that_boxes_share_is_what_the_libraries_need(box: Box) -> None:
    """Whatever a library only reserves would be real memory once it is in the shared file."""
    maps = Path(f"/proc/{box.pid}/maps").read_text().splitlines()
    areas = [line.split()[0].split("-") for line in maps if "memfd:heap" in line]

    assert 20 << 20 < sum(int(end, 16) - int(start, 16) for start, end in areas) < 400 << 20
