"""
The proxy: one listener for each container that may reach something, and the rules between them.

A container has so many connections at once and so many requests a second; what is more waits in its
own box. The proxy has no state that one container could leave for another.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from sanderling.sandbox.egress.gate import Gate, Permit, Record
from sanderling.sandbox.egress.reach import Reach
from sanderling.sandbox.egress.visit import Visit

CONNECTIONS_MAX = 32  # of one container at once; a browser opens 6 to one server
CONNECTIONS_ALL_MAX = 2048
_REST_S = 0.1  # after an accept that failed: there are no descriptors


class Proxy:
    """Every gate of this host. All methods belong to one event loop."""

    def __init__(self, reach: Reach, record: Record) -> None:
        self._reach = reach
        self._record = record
        self._slots = asyncio.Semaphore(CONNECTIONS_ALL_MAX)
        self._gates: dict[str, asyncio.Task[None]] = {}

    def open(self, permit: Permit, listener: socket.socket) -> None:
        """Serve what connects to `listener`, which is ours from here on, as `permit` says."""
        assert permit.container_id not in self._gates
        listener.setblocking(False)
        gate = Gate(permit, self._reach, self._record)
        self._gates[permit.container_id] = asyncio.create_task(self._serve(gate, listener))

    async def shut(self, container_id: str) -> None:
        """End every connection of a container and close its listener."""
        serving = self._gates.pop(container_id, None)
        if serving is not None:
            serving.cancel()
            await asyncio.wait([serving])

    async def close(self) -> None:
        """End everything."""
        for container_id in list(self._gates):
            await self.shut(container_id)

    async def _serve(self, gate: Gate, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        visits: set[asyncio.Task[None]] = set()
        slots = asyncio.Semaphore(CONNECTIONS_MAX)
        try:
            while True:
                await slots.acquire()
                try:
                    connection, _ = await loop.sock_accept(listener)
                except OSError:
                    slots.release()
                    await asyncio.sleep(_REST_S)
                    continue
                visit = asyncio.create_task(self._visit(gate, connection))
                visits.add(visit)
                visit.add_done_callback(visits.discard)
                visit.add_done_callback(lambda _: slots.release())
        finally:
            listener.close()
            for visit in list(visits):
                visit.cancel()
            await asyncio.gather(*visits, return_exceptions=True)

    async def _visit(self, gate: Gate, connection: socket.socket) -> None:
        with connection:
            async with self._slots:
                with contextlib.suppress(OSError):
                    # A head and its body are two writes: the second is not to wait for an ACK.
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    await Visit(connection, gate).run()
