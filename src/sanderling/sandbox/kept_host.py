"""
The host of a running server, replaced when it dies.

Nothing watches it: that a host is gone is found by the next call, which brings a new one and goes
on there. The new host has no boxes, so its callers meet what they must be ready for anyway: a box
that is not there. A host that dies while a call is going on fails that call.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable

from sanderling.errors import HostUnavailable, SetupError
from sanderling.observe import logs
from sanderling.sandbox.client import HostClient
from sanderling.sandbox.launch import HostProcess

Launching = Callable[[], Awaitable[tuple[HostClient, HostProcess]]]


class KeptHost:
    """
    Args:
        launching: finds or starts a host, as `launch` does; the first one is at work already.

    Attributes:
        client: for every call; it outlives the hosts.
    """

    def __init__(self, process: HostProcess, launching: Launching) -> None:
        self._process = process
        self._launching = launching
        self._is_stopping = False
        self._turn = asyncio.Lock()
        self.client = HostClient(process.client.socket_path, replace=self._replace)

    @property
    def pid(self) -> int:
        """Of the host that is at work, or of the last one."""
        return self._process.pid

    async def stop(self) -> None:
        """End the host and every box. Raises SandboxError."""
        self._is_stopping = True
        async with self._turn:
            await self._process.stop()

    async def _replace(self) -> None:
        """
        Bring a host; whoever comes while that goes on waits for the same one.

        Raises:
            SandboxError: there is none to be had; the next call tries again.
        """
        async with self._turn:
            if self._is_stopping:
                return
            _reap(self._process.pid)
            try:
                _, process = await self._launching()
            except SetupError as error:  # callers are ready for a host that is not there
                raise HostUnavailable(error.message) from error
            if process.is_new:
                logs.warning("host.died", pid=self._process.pid, replaced_by=process.pid)
            self._process = process


def _reap(pid: int) -> None:
    """Let go of a child that has ended; without waiting for it."""
    with contextlib.suppress(ChildProcessError):  # started by another server
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
