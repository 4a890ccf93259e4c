"""
What hostile code gets inside a box: nothing, whoever runs the host.

The probes run three times: as whoever runs the tests (as root: a uid range), as a plain user (one
uid), and as one with subordinate uids. The tests below them are about more than one box.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from sanderling.environments.environment import Environment
from sanderling.sandbox.base import BoxLimits
from sanderling.sandbox.box import Box
from sanderling.sandbox.spawner import Spawner
from tests.plain_user import PlainServer, PlainUser
from tests.promises import probes
from tests.promises.probes import PROBES, SURVIVED, TOOLS, Probe, printed

pytestmark = pytest.mark.sandbox

SAME_LOOP = pytest.mark.asyncio(loop_scope="module")

EVERY_PROBE = pytest.mark.parametrize(
    "probe", [pytest.param(p, id=p.promise.replace(" ", "_")) for p in PROBES if p.applies]
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def spawner(guest_env: Environment) -> AsyncIterator[Spawner]:
    with probes.planted_secret():
        made = await Spawner.start(env=guest_env.path, disk_bytes=64 << 20, logs_bytes_max=1 << 20)
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="module")
async def box(spawner: Spawner) -> AsyncIterator[Box]:
    made = await spawner.spawn()
    await made.configure(BoxLimits(memory_bytes=1 << 30))
    yield made
    made.kill()
    await made.wait_dead()
    made.release()


@pytest.fixture(scope="module")
def plain_answers(each_plain_user: PlainUser, plain_server: PlainServer) -> dict[str, list[str]]:
    """What the probes answer when a plain user runs the host; all in one process of that user's."""
    folder = each_plain_user.home / "probes"
    shutil.copytree(Path(probes.__file__).parent, folder, ignore=shutil.ignore_patterns("__py*"))
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
    done = subprocess.run(
        each_plain_user.command(plain_server.python, "-m", "probes", plain_server.guest_env.path),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        **each_plain_user.options(),
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, list[str]] = json.loads(done.stdout)
    return answers


@EVERY_PROBE
@SAME_LOOP
async def test_promise(spawner: Spawner, probe: Probe) -> None:
    answer, afterwards = await probes.answer_of(spawner.spawn, probe)

    assert re.fullmatch(probe.expected(), answer), answer
    assert afterwards == SURVIVED, "the kernel did not survive"


@EVERY_PROBE
def test_promise_for_a_plain_user(plain_answers: dict[str, list[str]], probe: Probe) -> None:
    answer, afterwards = plain_answers[probe.promise]

    assert re.fullmatch(probe.expected(), answer), answer
    assert afterwards == SURVIVED, "the kernel did not survive"


def test_a_plain_user_runs_code_with_one_command(
    each_plain_user: PlainUser, plain_server: PlainServer
) -> None:
    code = "import os, pandas; print(os.getuid(), pandas.Series([20, 22]).sum())"
    command = [plain_server.python, "-m", "sanderling", "exec", "-c", code]
    done = subprocess.run(
        each_plain_user.command(*command, "--env", plain_server.guest_env.path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **each_plain_user.options(),
    )

    assert (done.returncode, done.stdout) == (0, "1000 42\n"), done.stderr


@SAME_LOOP
async def test_boxes_do_not_see_each_other(spawner: Spawner, box: Box) -> None:
    other = await spawner.spawn()
    await other.configure(BoxLimits(memory_bytes=1 << 30))
    await printed(
        box,
        "import socket, os\n"
        "s = socket.socket(socket.AF_UNIX); s.bind('\\0shared'); s.listen()\n"
        "t = socket.socket(); t.bind(('127.0.0.1', 5000)); t.listen()\n"
        "open('/tmp/secret', 'w').write('x'); open('/dev/shm/secret', 'w').write('x')",
    )

    answer = await printed(
        other,
        TOOLS + "def reach(family, address): socket.socket(family).connect(address)\n"
        "report(attempt(reach, socket.AF_UNIX, '\\0shared'),"
        " attempt(reach, 2, ('127.0.0.1', 5000)),"
        " listing('/tmp'), os.listdir('/dev/shm'), os.listdir('/mnt/data'))",
    )
    other.kill()
    await other.wait_dead()
    other.release()

    assert re.fullmatch(r"(ECONNREFUSED|EPERM) ECONNREFUSED \[\] \[\] \[\]", answer), answer


@SAME_LOOP
async def test_boxes_do_not_share_random_numbers(spawner: Spawner) -> None:
    code = (
        "import random, secrets, ssl, tempfile, uuid, numpy\n"
        "print(random.random(), numpy.random.rand(), numpy.random.default_rng().random(),"
        # OpenSSL knows a fork by its process number, and every kernel is number 1.
        " uuid.uuid4(), secrets.token_hex(), ssl.RAND_bytes(16).hex(), tempfile.mktemp())"
    )
    answers = []
    for _ in range(2):
        box = await spawner.spawn()
        answers.append((await printed(box, code)).split())
        box.kill()
        await box.wait_dead()
        box.release()

    assert not set(answers[0]) & set(answers[1])


@SAME_LOOP
async def test_a_new_kernel_finds_the_files_of_the_dead_one_and_nothing_else(
    spawner: Spawner,
) -> None:
    box = await spawner.spawn()
    await box.configure(BoxLimits(memory_bytes=1 << 30))
    await printed(box, "x = 1; open('/mnt/data/kept.txt', 'w').write('kept')")
    box.kill()
    await box.wait_dead()

    successor = await spawner.respawn(box)
    await successor.configure(BoxLimits(memory_bytes=1 << 30))
    answer = await printed(
        successor,
        "print(open('/mnt/data/kept.txt').read(), 'x' in globals(), __import__('os').getpid())",
    )
    successor.kill()
    await successor.wait_dead()
    successor.release()

    assert answer == "kept False 1"


@SAME_LOOP
async def test_a_daemon_does_not_outlive_its_box(spawner: Spawner) -> None:
    box = await spawner.spawn()
    await printed(
        box,
        "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)",
    )
    children = Path(f"/proc/{box.pid}/task/{box.pid}/children").read_text().split()

    box.kill()
    await box.wait_dead()
    box.release()

    assert children
    for pid in children:
        assert (
            not Path(f"/proc/{pid}").exists()
            or "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
        )


@SAME_LOOP
async def test_limits_may_be_raised_until_the_first_cell_and_by_nobody_after_it(spawner: Spawner):
    box = await spawner.spawn()
    await box.prepare(BoxLimits(memory_bytes=1 << 30))
    await box.configure(BoxLimits(memory_bytes=4 << 30))

    limits = await printed(box, "import resource as r; print(*r.getrlimit(r.RLIMIT_DATA))")
    soft, hard = map(int, limits.split())
    refusal = await printed(
        box,
        f"try: r.setrlimit(r.RLIMIT_DATA, ({hard} * 2, {hard} * 2))\n"
        "except ValueError as error: print(error)",
    )
    box.kill()
    await box.wait_dead()
    box.release()

    assert soft >= 4 << 30
    assert hard - soft < 1 << 30
    assert "not allowed to raise" in refusal
