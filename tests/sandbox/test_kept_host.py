from __future__ import annotations

import asyncio
import os
import signal

import pytest

from sanderling.errors import HostUnavailable, SetupError
from sanderling.sandbox.client import HostClient
from sanderling.sandbox.kept_host import KeptHost
from sanderling.sandbox.launch import HostProcess
from tests.sandbox.hosts import Launcher, is_running, launcher

__all__ = ["launcher"]


def keep(process: HostProcess, launcher: Launcher) -> KeptHost:
    async def launching() -> tuple[HostClient, HostProcess]:
        found = await launcher()
        return found.client, found

    return KeptHost(process, launching)


async def die(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    await asyncio.to_thread(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT)


async def test_a_host_that_died_is_replaced_once_for_all_who_call(launcher: Launcher):
    first = await launcher()
    kept = keep(first, launcher)
    assert (await kept.client.status()).pid == first.pid
    await die(first.pid)

    found = await asyncio.gather(*[kept.client.status() for _ in range(5)])

    assert {status.pid for status in found} == {kept.pid}
    assert kept.pid != first.pid
    await kept.stop()
    assert not is_running(kept.pid)


async def test_a_host_that_was_stopped_stays_away(launcher: Launcher):
    kept = keep(await launcher(), launcher)
    await kept.stop()

    with pytest.raises(HostUnavailable):
        await kept.client.status()
    assert not is_running(kept.pid)


async def test_a_host_that_cannot_be_started_is_a_host_that_is_not_there(launcher: Launcher):
    first = await launcher()

    async def launching() -> tuple[HostClient, HostProcess]:
        raise SetupError("The guest environment is gone.")

    kept = KeptHost(first, launching)
    await die(first.pid)

    with pytest.raises(HostUnavailable, match="guest environment is gone"):
        await kept.client.status()
