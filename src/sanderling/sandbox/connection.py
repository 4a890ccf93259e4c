"""
One end of a call's Unix socket, without asyncio's transport.

A call is one small message each way on a connection of its own. A transport with its protocol and
its reader takes as long to be made and closed as the call itself; a bare socket needs none of it.
"""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

_CHUNK_BYTES = 1 << 16


class Connection:
    """A connected socket that is read by one task and written by one, as asyncio's streams are."""

    def __init__(self, connected: socket.socket) -> None:
        """`connected` is ours from here on."""
        connected.setblocking(False)
        self._socket = connected
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._unsent = b""

    @classmethod
    def connect(cls, path: Path) -> Connection:
        """
        Connect at once: whoever listens there has room for it, or has not.

        Raises:
            OSError: nobody listens, or too many wait already.
        """
        connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connecting.setblocking(False)
            connecting.connect(str(path))
        except BaseException:
            connecting.close()
            raise
        return cls(connecting)

    async def readexactly(self, count: int) -> bytes:
        """Raises IncompleteReadError: the other end closed before; ConnectionError."""
        while (missing := count - len(self._received)) > 0:
            data = await self._loop.sock_recv(self._socket, max(missing, _CHUNK_BYTES))
            if not data:
                partial = bytes(self._received)
                self._received.clear()
                raise asyncio.IncompleteReadError(partial, count)
            self._received += data
        found = bytes(self._received[:count])
        del self._received[:count]
        return found

    def write(self, data: bytes) -> None:
        """Have `data` sent by the next `drain`."""
        self._unsent = self._unsent + data if self._unsent else data

    async def drain(self) -> None:
        """Send what was written; wait while the other end is slow. Raises ConnectionError."""
        unsent, self._unsent = self._unsent, b""
        await self._loop.sock_sendall(self._socket, unsent)

    def close(self) -> None:
        """Close at once; nobody waits for it any more."""
        self._socket.close()
