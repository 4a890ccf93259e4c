"""
The sandbox in this process with boxes behind the real wall: what a double cannot show.

What `base.Sandbox` promises is asked of it, with plain boxes, in test_client.py.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sanderling.environments.environment import Environment
from sanderling.errors import NotFound, TooLarge
from sanderling.sandbox.base import BoxLimits, ChangedFile, Ended, Logs, Result
from sanderling.sandbox.local import LocalSandbox
from sanderling.sandbox.options import HostOptions
from sanderling.sandbox.spawner import Spawner
from tests.plain_user import PlainServer, PlainUser, SubuidUser
from tests.sandbox.stages import chunks, until

pytestmark = pytest.mark.sandbox

DEADLINE_S = 60.0
LIMITS = BoxLimits(memory_bytes=1 << 30)
DISK_BYTES = 32 << 20
_ids = itertools.count()


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
        disk_bytes=DISK_BYTES,
        logs_bytes_max=1 << 16,
        pool_size=1,
        boxes_max=10,
    )
    sandbox = LocalSandbox(options, start)
    await sandbox.open()
    yield sandbox
    await sandbox.end()


async def run(local: LocalSandbox, code: str, *, timeout_s: float = DEADLINE_S) -> list[Any]:
    stream = local.execute("cntr_a", f"exec_{next(_ids)}", code, timeout_s=timeout_s)
    return [happening async for happening in stream]


async def end_of(local: LocalSandbox, code: str, *, timeout_s: float = DEADLINE_S) -> Ended:
    return (await run(local, code, timeout_s=timeout_s))[-1]


async def test_files_from_outside_belong_to_the_code_and_its_files_can_be_read(
    local: LocalSandbox,
):
    await local.create("cntr_a", LIMITS)
    await local.write_file("cntr_a", "/mnt/data/sub/in.txt", chunks(b"in"))
    shown = await run(
        local,
        "import os\n"
        "open('sub/in.txt', 'a').write('!'); os.rename('sub/in.txt', 'sub/out.txt')\n"
        "os.mkdir('sub/deep'); os.chmod('sub/out.txt', 0o400)\n"
        "open('sub/out.txt').read(), os.stat('sub').st_uid == os.getuid()",
    )
    back = [c async for c in local.read_file("cntr_a", "/mnt/data/sub/out.txt")]

    assert shown[0] == Result("('in!', True)")
    assert shown[-1].changed == (ChangedFile("/mnt/data/sub/out.txt", 3),)
    assert back == [b"in!"]
    assert await local.delete_file("cntr_a", "/mnt/data/sub/out.txt")


async def test_a_file_larger_than_the_box_is_too_large_and_leaves_nothing(local: LocalSandbox):
    await local.create("cntr_a", LIMITS)
    piece = bytes(1 << 20)
    too_many = DISK_BYTES // len(piece) + 1
    with pytest.raises(TooLarge):
        await local.write_file("cntr_a", "/mnt/data/x", chunks(*[piece] * too_many))

    assert (await run(local, "import os; os.listdir()"))[0] == Result("[]")
    assert await local.write_file("cntr_a", "/mnt/data/x", chunks(piece)) == len(piece)


async def test_links_out_of_the_box_are_not_followed(local: LocalSandbox):
    await local.create("cntr_a", LIMITS)
    ended = await end_of(
        local,
        "import os\n"
        "os.symlink('/etc/passwd', 'a'); os.symlink('/proc/1/root/etc/passwd', 'b')\n"
        "os.symlink('../../../../etc', 'folder')",
    )

    assert ended.changed == ()
    for path in ("a", "b", "folder/passwd", "../../etc/passwd"):
        with pytest.raises(NotFound):
            await anext(local.read_file("cntr_a", f"/mnt/data/{path}"))


async def test_a_kernel_that_must_be_killed_is_replaced_in_its_namespaces(local: LocalSandbox):
    await local.create("cntr_a", LIMITS)
    await run(local, "open('kept', 'w').write('k'); x = 1")
    ended = await end_of(
        local,
        "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "open('late', 'w').close()\n"
        "while True: time.sleep(1)",
        timeout_s=0.3,
    )
    shown = await run(local, "import os; print(sorted(os.listdir())); 'x' in globals()")

    assert (ended.status, ended.is_fresh) == ("timed_out", True)
    assert ended.changed == (ChangedFile("/mnt/data/late", 0),)
    assert shown[:2] == [Logs("stdout", "['kept', 'late']\n"), Result("False")]


async def test_too_much_memory_ends_the_cell_and_the_box_goes_on(local: LocalSandbox):
    if (await local.status()).cgroups == "none":
        pytest.skip("without control groups each process has the limit for itself")
    await local.create("cntr_a", BoxLimits(memory_bytes=256 << 20))
    await run(local, "open('kept', 'w').close()")
    # Each child stays below the limit of one process; together they are beyond the box's.
    ended = await end_of(
        local,
        "import os, signal\n"
        "for _ in range(4):\n"
        "    if os.fork() == 0:\n"
        "        hoard = bytearray(150 << 20)\n"
        "        for at in range(0, len(hoard), 4096): hoard[at] = 1\n"
        "        signal.pause()\n"  # until the limit ends one of them
        "os.wait()",
    )
    after = await run(local, "import os; os.listdir()")

    assert "256 MiB" in (ended.notice or "")
    assert after[0] == Result("['kept']")


async def test_memory_one_process_cannot_have_is_a_memory_error(local: LocalSandbox):
    await local.create("cntr_a", BoxLimits(memory_bytes=256 << 20))
    shown = await run(local, "x = bytearray(1 << 30)")
    after = await run(local, "1 + 1")

    assert shown[0].name == "MemoryError"
    assert shown[-1].status == "error"
    assert after[0] == Result("2")


async def test_a_dead_zygote_takes_its_boxes_and_another_takes_its_place(local: LocalSandbox):
    await local.create("cntr_a", LIMITS)
    stream = local.execute("cntr_a", "e", "print('begun')\nwhile True: pass", timeout_s=DEADLINE_S)
    await anext(stream)
    maker = local._pool._maker
    assert maker is not None
    os.kill(maker.pid, signal.SIGKILL)
    ended = [happening async for happening in stream][-1]
    await until(lambda: not local._keepers)
    is_new = await local.create("cntr_a", LIMITS)

    assert ended.status == "died"
    assert is_new
    assert (await run(local, "1 + 1"))[0] == Result("2")


async def test_boxes_leave_no_descriptor_and_no_group_behind(local: LocalSandbox):
    await until(lambda: local._pool.ready == 1)

    def left() -> tuple[int, int]:
        groups = sum(
            len(names)
            for top, names, _ in os.walk("/sys/fs/cgroup")
            if f"sanderling-host-{os.getpid()}-" in top
        )
        return len(os.listdir("/proc/self/fd")), groups

    before = left()
    for _ in range(3):
        await local.create("cntr_a", LIMITS)
        await run(local, "import os; os._exit(1)")
        await run(local, "1")
        await local.close("cntr_a")
    await until(lambda: local._pool.ready == 1)
    await until(lambda: left() == before)


async def test_many_boxes_at_once_each_answer_for_themselves(local: LocalSandbox):
    async def one(number: int) -> Any:
        await local.create(f"cntr_{number}", LIMITS)
        stream = local.execute(f"cntr_{number}", "e", f"{number} * 2", timeout_s=DEADLINE_S)
        shown = [happening async for happening in stream]
        return shown[0]

    shown = await asyncio.gather(*(one(number) for number in range(6)))

    assert shown == [Result(str(number * 2)) for number in range(6)]


AS_A_PLAIN_USER = """
import asyncio, sys
from pathlib import Path
from sanderling.sandbox.base import BoxLimits
from sanderling.sandbox.launch import launch

async def content():
    yield b"in"

async def main():
    client, process = await launch(
        env=Path(sys.argv[1]), data=Path(sys.argv[2]), pool_size=0, boxes_max=2,
        disk_bytes=32 << 20, logs_bytes_max=1 << 16,
    )
    try:
        await client.create("cntr_a", BoxLimits(memory_bytes=1 << 30))
        await client.write_file("cntr_a", "/mnt/data/sub/in.txt", content())
        code = "open('sub/in.txt', 'a').write('!'); open('sub/in.txt').read()"
        shown = [h async for h in client.execute("cntr_a", "e", code, timeout_s=60)]
        print(shown[0].text, [(c.path, c.bytes) for c in shown[-1].changed])
        print([c async for c in client.read_file("cntr_a", "/mnt/data/sub/in.txt")])
        code = "import os; os._exit(1)"
        print([h async for h in client.execute("cntr_a", "f", code, timeout_s=60)][-1].is_fresh)
        code = "import os; os.listdir('sub')"
        print([h async for h in client.execute("cntr_a", "g", code, timeout_s=60)][0].text)
        print(await client.delete_file("cntr_a", "/mnt/data/sub/in.txt"))
        print((await client.status()).uids)
    finally:
        await process.stop()

asyncio.run(main())
"""


def test_a_plain_user_has_the_same(each_plain_user: PlainUser, plain_server: PlainServer):
    data = each_plain_user.home / "data"
    command = [plain_server.python, "-c", AS_A_PLAIN_USER, plain_server.guest_env.path, data]
    done = subprocess.run(
        each_plain_user.command(*command),
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        **each_plain_user.options(),
    )

    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "'in!' [('/mnt/data/sub/in.txt', 3)]",
        "[b'in!']",
        "True",
        "['in.txt']",
        "True",
        "subuid" if isinstance(each_plain_user, SubuidUser) else "single",
    ]
