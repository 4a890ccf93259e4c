"""
What the network of a box is: none, or a port of its own loopback that the host listens on.

Everything is tried in real boxes; nothing leaves this machine.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sanderling.environments.environment import Environment
from sanderling.sandbox.base import BoxLimits
from sanderling.sandbox.box import Box
from sanderling.sandbox.spawner import Spawner
from tests.plain_user import PlainServer, PlainUser
from tests.promises.probes import printed

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="module")]

_GIB = 1 << 30
_CONNECT = """
import socket
try:
    socket.create_connection(("127.0.0.1", 3128), timeout=10).sendall(b"hello")
    print("connected")
except OSError as error:
    print(type(error).__name__)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def spawner(guest_env: Environment) -> AsyncIterator[Spawner]:
    made = await Spawner.start(
        env=guest_env.path,
        disk_bytes=64 << 20,
        logs_bytes_max=1 << 20,
        preload=(),
        has_egress=True,
    )
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="module")
async def box(spawner: Spawner) -> AsyncIterator[Box]:
    made = await spawner.spawn()
    yield made
    await _end(made)


async def _end(box: Box) -> None:
    box.kill()
    await box.wait_dead()
    box.release()


async def _heard(listener: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(30):
        connection, _ = await loop.sock_accept(listener)
        with connection:
            return await loop.sock_recv(connection, 100)


async def test_a_box_whose_container_has_no_policy_is_refused(box: Box) -> None:
    await box.configure(BoxLimits(_GIB))

    assert await printed(box, _CONNECT) == "ConnectionRefusedError"


async def test_a_way_out_that_nobody_took_is_closed_whatever_the_policy(box: Box) -> None:
    await box.configure(BoxLimits(_GIB, allowed_domains=("site.example",)))

    assert await printed(box, _CONNECT) == "ConnectionRefusedError"


async def test_the_host_hears_a_box_without_entering_it_and_across_its_kernels(
    spawner: Spawner,
) -> None:
    box = await spawner.spawn()
    limits = BoxLimits(_GIB, allowed_domains=("site.example",))
    fd = box.take_listener()
    assert fd is not None
    with socket.socket(fileno=fd) as listener:
        listener.setblocking(False)
        await box.configure(limits)
        assert await printed(box, _CONNECT) == "connected"
        assert await _heard(listener) == b"hello"
        box.kill()
        await box.wait_dead()
        successor = await spawner.respawn(box)
        await successor.configure(limits)
        assert await printed(successor, _CONNECT) == "connected"
        heard = await _heard(listener)
        await _end(successor)

    assert heard == b"hello"


async def test_only_that_port_leads_out_and_only_over_the_boxs_own_loopback(box: Box) -> None:
    listener = box.take_listener()
    assert listener is not None
    await box.configure(BoxLimits(_GIB, allowed_domains=("site.example",)))
    answer = await printed(
        box,
        "import socket\n"
        "for place in [('192.0.2.1', 80), ('169.254.169.254', 80), ('127.0.0.1', 80)]:\n"
        "    try:\n        socket.create_connection(place, timeout=5)\n"
        "    except OSError as error:\n        print(error.errno, end=' ')\n"
        "print(open('/proc/net/dev').read().count(':'))",
    )
    os.close(listener)

    assert answer == "101 101 111 1"


_PLAIN = '''
import asyncio, sys, tempfile
from pathlib import Path
from sanderling.sandbox.base import BoxLimits, Logs
from sanderling.sandbox.egress.host import Egress
from sanderling.sandbox.local import LocalSandbox
from sanderling.sandbox.options import HostOptions

FETCH = """
import urllib.request
try:
    urllib.request.urlopen('http://evil.example/')
except OSError as error:
    print(error)
"""
SIZES = {"disk_bytes": 64 << 20, "logs_bytes_max": 1 << 20, "pool_size": 0, "boxes_max": 2}

async def main():
    with tempfile.TemporaryDirectory() as folder:
        options = HostOptions(env=sys.argv[1], egress_domains="*", **SIZES)
        egress = Egress(("*",), Path(folder, "egress.log"))
        sandbox = LocalSandbox(options, egress=egress)
        await sandbox.open()
        try:
            limits = BoxLimits(256 << 20, allowed_domains=("site.example",))
            await sandbox.create("cntr_a", limits)
            shown = sandbox.execute("cntr_a", "exec_a", FETCH, timeout_s=30)
            print("".join([s.text async for s in shown if isinstance(s, Logs)]), end="")
            status = Path(f"/proc/{egress.pid}/status").read_text()
            print(*[line.split()[1] for line in status.splitlines()
                    if line.startswith(("CapPrm", "NoNewPrivs", "Seccomp:"))])
        finally:
            await sandbox.end()

asyncio.run(main())
'''


async def test_a_plain_users_boxes_have_the_same_way_out_and_the_proxy_as_few_rights(
    plain_user: PlainUser, plain_server: PlainServer
) -> None:
    script = plain_user.home / "egress.py"
    script.write_text(_PLAIN)
    script.chmod(0o644)
    done = await asyncio.to_thread(
        subprocess.run,
        [plain_server.python, script, plain_server.guest_env.path],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **plain_user.options(),
    )

    told = "evil.example is not allowed here; this container may reach only: site.example."
    assert done.stdout == f"HTTP Error 403: {told}\n0000000000000000 1 2\n", done.stderr
