from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sanderling.errors import HostUnavailable, MachineUnfit, NotFound, SetupError
from sanderling.sandbox import launch as launch_module
from sanderling.sandbox.base import Logs, Result
from tests.sandbox.hosts import LIMITS, ROOT, Launcher, is_running, launcher, run

__all__ = ["launcher"]


async def test_a_host_is_started_runs_cells_and_is_stopped(launcher: Launcher):
    process = await launcher()
    status = await process.client.status()
    await process.client.create("cntr_a", LIMITS)
    shown = await run(process, "1 + 1")
    await process.stop()

    assert process.is_new
    assert status.pid == process.pid
    assert shown[0] == Result("2")
    assert not is_running(process.pid)
    assert not process.client.socket_path.exists()
    with pytest.raises(HostUnavailable):
        await process.client.status()
    await process.stop()


async def test_a_living_host_is_used_again_with_its_boxes(launcher: Launcher):
    first = await launcher()
    await first.client.create("cntr_a", LIMITS)
    await run(first, "x = 41")
    second = await launcher()
    shown = await run(second, "x + 1", "e2")

    assert (second.pid, second.is_new) == (first.pid, False)
    assert shown[0] == Result("42")
    await second.stop()
    assert not is_running(first.pid)


@pytest.mark.parametrize(
    "changed",
    [{"env": Path("/other")}, {"disk_bytes": 2 << 20}, {"logs_bytes_max": 1}, {"boxes_max": 6}],
)
async def test_a_host_with_other_options_is_replaced(launcher: Launcher, changed: dict[str, Any]):
    first = await launcher()
    second = await launcher(**changed)

    assert second.is_new
    assert second.pid != first.pid
    assert not is_running(first.pid)


async def test_a_host_of_another_version_is_replaced(
    launcher: Launcher, monkeypatch: pytest.MonkeyPatch
):
    first = await launcher()
    monkeypatch.setattr(launch_module, "package_version", lambda: "99.0")
    second = await launcher()

    assert second.pid != first.pid
    assert not is_running(first.pid)


async def test_servers_that_start_at_once_share_one_host(launcher: Launcher):
    processes = await asyncio.gather(*(launcher() for _ in range(3)))

    assert len({process.pid for process in processes}) == 1
    assert sorted(process.is_new for process in processes) == [False, False, True]


async def test_a_machine_that_is_unfit_says_so_in_its_own_words(launcher: Launcher):
    with pytest.raises(MachineUnfit, match="do this about it"):
        await launcher(env=Path("/unfit"))
    assert "host.refused" in launcher.log


async def test_an_isolation_we_do_not_have_is_refused(launcher: Launcher):
    with pytest.raises(MachineUnfit, match="'vm'"):
        await launcher(min_isolation="vm")


async def test_a_host_that_crashes_at_start_is_unavailable_and_its_log_is_shown(
    launcher: Launcher,
):
    with pytest.raises(HostUnavailable, match="a bug"):
        await launcher(env=Path("/crashing"))


async def test_a_host_that_never_becomes_ready_is_ended(
    launcher: Launcher, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(launch_module, "_START_DEADLINE_S", 0.2)
    with pytest.raises(HostUnavailable, match="not ready"):
        await launcher(command=(sys.executable, "-S", "-c", "import signal; signal.pause()"))


async def test_a_program_that_is_not_there_is_a_setup_error(launcher: Launcher):
    with pytest.raises(SetupError):
        await launcher(command=("/nonexistent/python",))


async def test_a_host_survives_a_server_that_is_killed(launcher: Launcher):
    code = (
        "import asyncio, os, sys; from pathlib import Path\n"
        "from sanderling.sandbox.launch import launch\n"
        "from sanderling.sandbox.base import BoxLimits\n"
        "async def serve():\n"
        "    client, process = await launch(env=Path('/env'), data=Path(sys.argv[1]),\n"
        "        pool_size=0, boxes_max=5, disk_bytes=1 << 20, logs_bytes_max=1 << 16,\n"
        "        command=(sys.executable, '-m', 'tests.doubles.plain_host'))\n"
        "    await client.create('cntr_a', BoxLimits(1 << 30))\n"
        "    async for h in client.execute('cntr_a', 'e', sys.argv[2], timeout_s=60):\n"
        "        print('begun', flush=True)\n"
        "asyncio.run(serve())\n"
    )
    cell = (
        "print('begun', flush=True)\nimport time, os\n"
        "while not os.path.exists('go'): time.sleep(0.01)\n'went on'"
    )
    server = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", code, str(launcher.data), cell], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert server.stdout is not None
    assert await asyncio.to_thread(server.stdout.readline) == b"begun\n"
    server.kill()
    server.wait()
    server.stdout.close()
    process = await launcher()

    async def nothing() -> AsyncIterator[bytes]:
        return
        yield b""

    assert not process.is_new
    await process.client.write_file("cntr_a", "/mnt/data/go", nothing())
    shown = await run(process, cell)
    assert shown[0] == Logs("stdout", "begun\n")
    assert shown[1] == Result("'went on'")
    await process.stop()


async def test_a_socket_left_by_a_killed_host_is_in_nobodys_way(launcher: Launcher):
    first = await launcher()
    os.kill(first.pid, signal.SIGKILL)
    await asyncio.to_thread(os.waitpid, first.pid, 0)
    assert first.client.socket_path.exists()
    second = await launcher()

    assert second.is_new
    with pytest.raises(NotFound):
        await run(second, "1")


async def test_a_host_that_is_stuck_is_stopped_by_force(launcher: Launcher):
    process = await launcher()
    os.kill(process.pid, signal.SIGSTOP)
    await process.stop(deadline_s=0.1)

    assert not is_running(process.pid)


async def test_the_folder_is_private_and_the_log_is_in_it(launcher: Launcher):
    process = await launcher()
    folder = launcher.data / "host"

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(process.client.socket_path.stat().st_mode) == 0o600
    assert "host.ready" in launcher.log


async def test_a_log_that_grew_large_is_put_aside(launcher: Launcher):
    (launcher.data / "host").mkdir(parents=True)
    (launcher.data / "host" / "host.log").write_bytes(b"x" * ((4 << 20) + 1))
    await launcher()

    assert "host.ready" in launcher.log
    assert (launcher.data / "host" / "host.log.1").stat().st_size == (4 << 20) + 1


async def test_a_data_folder_with_a_long_name_works(
    launcher: Launcher, tmp_path: Path, short_path: Path, monkeypatch: pytest.MonkeyPatch
):
    runtime = short_path
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    launcher.data = tmp_path / ("d" * 120)
    first = await launcher()
    second = await launcher()

    assert first.client.socket_path.parent.parent == runtime
    assert second.pid == first.pid
