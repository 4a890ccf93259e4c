"""A box that code cannot write in: not in /mnt/data and not elsewhere, while the host still can."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sanderling.environments.environment import Environment
from sanderling.errors import MachineUnfit, SpawnFailed
from sanderling.sandbox.base import BoxLimits, Ended, Logs
from sanderling.sandbox.local import HostOptions, LocalSandbox
from sanderling.sandbox.verify import check_read_only
from tests.plain_user import PlainServer, PlainUser
from tests.sandbox.stages import chunks

pytestmark = pytest.mark.sandbox

LIMITS = BoxLimits(memory_bytes=1 << 30, read_only=True)

# Every way to change a file system that Python knows; prints those that worked.
ATTEMPTS = """
import os, shutil, socket, subprocess, tempfile
places = ["/mnt/data", "/tmp", "/dev/shm", os.path.expanduser("~"), "/", "/run", "/var/tmp", "/etc"]
def unix_socket(at):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(at + "/s")
def truncated(at):
    os.truncate("/mnt/data/in.csv", 0)
def opened_truncated(at):
    os.close(os.open("/mnt/data/in.csv", os.O_RDONLY | os.O_TRUNC))
def written_by_proc(at):
    with open("/mnt/data/in.csv", "rb") as file:
        open(f"/proc/self/fd/{file.fileno()}", "ab").write(b"x")
ways = {
    "open": lambda at: open(at + "/x", "w"),
    "append": lambda at: open("/mnt/data/in.csv", "a"),
    "mkdir": lambda at: os.mkdir(at + "/d"),
    "symlink": lambda at: os.symlink("/", at + "/l"),
    "link": lambda at: os.link("/mnt/data/in.csv", at + "/h"),
    "rename": lambda at: os.rename("/mnt/data/in.csv", at + "/r"),
    "remove": lambda at: os.remove("/mnt/data/in.csv"),
    "mkfifo": lambda at: os.mkfifo(at + "/f"),
    "chmod": lambda at: os.chmod("/mnt/data/in.csv", 0o777),
    "utime": lambda at: os.utime("/mnt/data/in.csv", (1, 1)),
    "xattr": lambda at: os.setxattr("/mnt/data/in.csv", "user.x", b"1"),
    "tmpfile": lambda at: tempfile.TemporaryFile(dir=at),
    "socket": unix_socket,
    "truncate": truncated,
    "O_TRUNC": opened_truncated,
    "proc": written_by_proc,
    "shell": lambda at: subprocess.run(["sh", "-c", f"echo > {at}/y"], check=True,
                                       stderr=subprocess.DEVNULL),
    "remount": lambda at: subprocess.run(["mount", "-o", "remount,rw", at], check=True,
                                         stderr=subprocess.DEVNULL),
}
worked = []
for name, way in ways.items():
    for place in places:
        try:
            way(place)
        except (OSError, subprocess.CalledProcessError):
            continue
        worked.append(f"{name} at {place}")
print("worked:", worked)
print(os.listdir("/mnt/data"), open("/mnt/data/in.csv").read())
"""
NOTHING = "worked: []\n['in.csv'] a,b\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def local(guest_env: Environment) -> AsyncIterator[LocalSandbox]:
    sandbox = LocalSandbox(options(guest_env))
    await sandbox.open()
    yield sandbox
    await sandbox.end()


def options(env: Environment, **more: str) -> HostOptions:
    return HostOptions(
        env=str(env.path),
        disk_bytes=64 << 20,
        logs_bytes_max=1 << 18,
        pool_size=1,
        boxes_max=8,
        **more,  # type: ignore[arg-type]
    )


async def said(local: LocalSandbox, container_id: str, number: int, code: str) -> tuple[str, str]:
    """Run a cell; return how it ended and what it printed."""
    shown = [
        happening
        async for happening in local.execute(container_id, f"e{number}", code, timeout_s=60)
    ]
    ended = shown[-1]
    assert isinstance(ended, Ended)
    return ended.status, "".join(s.text for s in shown if isinstance(s, Logs))


@pytest.mark.asyncio(loop_scope="module")
async def test_code_writes_nowhere_and_the_host_writes(local: LocalSandbox):
    await local.create("cntr_ro", LIMITS)
    await local.write_file("cntr_ro", "/mnt/data/in.csv", chunks(b"a,b"))

    assert await said(local, "cntr_ro", 1, ATTEMPTS) == ("ok", NOTHING)
    status, _ = await said(local, "cntr_ro", 2, "import os; os._exit(1)")
    assert status == "died"
    # The kernel that took the dead one's place is behind the same wall.
    assert await said(local, "cntr_ro", 3, ATTEMPTS) == ("ok", NOTHING)
    await local.write_file("cntr_ro", "/mnt/data/in.csv", chunks(b"c,d"))
    assert await said(local, "cntr_ro", 4, "print(open('in.csv').read())") == ("ok", "c,d\n")
    plot = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\nprint('drawn')"
    assert await said(local, "cntr_ro", 5, plot) == ("ok", "drawn\n")


@pytest.mark.asyncio(loop_scope="module")
async def test_other_boxes_write_as_ever(local: LocalSandbox):
    await local.create("cntr_ro2", LIMITS)
    await local.create("cntr_rw", BoxLimits(memory_bytes=1 << 30))

    await local.write_file("cntr_rw", "/mnt/data/in.csv", chunks(b"a,b"))

    _, text = await said(local, "cntr_rw", 1, ATTEMPTS)
    for way in ("open at /mnt/data", "shell at /tmp", "socket at /dev/shm", "rename at /mnt/data"):
        assert way in text
    assert await said(local, "cntr_ro2", 1, "open('x', 'w')") == ("error", "")


@pytest.mark.asyncio(loop_scope="module")
async def test_box_that_could_be_written_in_is_not_handed_out(local: LocalSandbox):
    """The look from outside fails for a box that was made without the profile."""
    await local.create("cntr_plain", BoxLimits(memory_bytes=1 << 30))
    box = local._keepers["cntr_plain"]._box

    with pytest.raises(SpawnFailed, match="can write to /tmp, /dev/shm, /home/user, /mnt/data"):
        check_read_only(box.pid)
    with pytest.raises(SpawnFailed):
        await box.prepare(LIMITS)
    assert box.is_dead


async def test_isolation_that_cannot_is_refused(guest_env: Environment):
    sandbox = LocalSandbox(options(guest_env, isolation="gvisor"))

    with pytest.raises(MachineUnfit, match="no boxes that code cannot write in"):
        await sandbox.create("cntr_ro", LIMITS)


AS_USER = """
import asyncio, sys
from tests_attempts import ATTEMPTS
from sanderling.sandbox.base import BoxLimits, Logs
from sanderling.sandbox.local import HostOptions, LocalSandbox
async def content():
    yield b"a,b"
async def main():
    local = LocalSandbox(HostOptions(env=sys.argv[1], disk_bytes=64 << 20, logs_bytes_max=1 << 18,
                                     pool_size=0, boxes_max=2))
    await local.open()
    await local.create("c", BoxLimits(memory_bytes=1 << 30, read_only=True))
    await local.write_file("c", "/mnt/data/in.csv", content())
    async for happening in local.execute("c", "e", ATTEMPTS, timeout_s=60):
        if isinstance(happening, Logs):
            print(happening.text, end="")
    await local.end()
asyncio.run(main())
"""


def test_as_a_user_without_rights(each_plain_user: PlainUser, plain_server: PlainServer):
    folder = each_plain_user.home
    for name, text in (("tests_attempts.py", f"ATTEMPTS = {ATTEMPTS!r}"), ("main.py", AS_USER)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o644)
    done = subprocess.run(
        each_plain_user.command(plain_server.python, "main.py", plain_server.guest_env.path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **each_plain_user.options(),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == NOTHING
