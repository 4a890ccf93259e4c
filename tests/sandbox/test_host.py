from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from sanderling.sandbox import host
from tests.sandbox.hosts import DEADLINE_S, LIMITS, PLAIN_HOST, Launcher, is_running, launcher, run

__all__ = ["launcher"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_a_host_with_its_boxes(launcher: Launcher, number: signal.Signals):
    process = await launcher()
    await process.client.create("cntr_a", LIMITS)
    kernel = int((await run(process, "import os; os.getpid()"))[0].text)
    code = "print('begun')\nwhile True: pass"
    spinning = process.client.execute("cntr_a", "e2", code, timeout_s=DEADLINE_S)
    await anext(spinning)
    os.kill(process.pid, number)
    ended = [h async for h in spinning][-1]
    _, status = await asyncio.to_thread(os.waitpid, process.pid, 0)

    assert ended.status == "interrupted"
    assert os.waitstatus_to_exitcode(status) == 0
    assert not is_running(kernel)


async def test_a_data_folder_has_one_host_at_most(launcher: Launcher):
    process = await launcher()
    launcher_end, host_end = os.pipe()
    options = {"env": "/env", "disk_bytes": 1, "logs_bytes_max": 1, "pool_size": 0, "boxes_max": 1}
    arguments = [
        *("--socket", str(process.client.socket_path), "--ready-fd", str(host_end)),
        *("--lock", str(launcher.data / "host" / "host.lock")),
        *("--options", json.dumps(options)),
    ]
    second = await asyncio.to_thread(
        subprocess.run, [*PLAIN_HOST, *arguments], pass_fds=[host_end], stderr=subprocess.PIPE
    )
    os.close(host_end)
    said = os.read(launcher_end, 4096)
    os.close(launcher_end)

    assert second.returncode == 1
    assert b"HostUnavailable" in said
    assert str(process.pid).encode() in said
    assert (await process.client.status()).pid == process.pid


async def test_the_host_learns_no_key_of_the_server(
    launcher: Launcher, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-the-operator")
    process = await launcher()
    environment = Path(f"/proc/{process.pid}/environ").read_bytes()

    assert b"sk-secret-of-the-operator" not in environment


def test_the_package_has_a_version():
    assert host.package_version()
