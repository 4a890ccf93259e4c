"""
The floor: a process that has imported everything forks, and the copy runs cells.

No wall, no limits, no files, nothing looked at: what is left is what forking itself costs.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import sys

from bench.cells import IMPORTS, plot
from bench.peers import child
from bench.peers.base import CellFailed, Peer, Place, Session


class RawFork(Peer):
    key, title, isolation = "fork", "raw fork of a warm process", "none"
    is_blocking = False  # it must fork from its only thread; a fork is quick
    starts_loaded = True
    live_max = 1000
    remark = "The floor, not a peer: no wall at all."

    async def open(self, place: Place) -> None:
        os.environ["MPLCONFIGDIR"] = str(place.mpl_config)
        os.environ["OPENBLAS_NUM_THREADS"] = "1"  # what has threads must not fork
        execute = child.plain()
        execute(IMPORTS)
        execute(plot(is_shown=False))
        gc.collect()
        gc.freeze()

    async def session(self) -> Session:
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            with theirs, theirs.makefile("r") as requests, theirs.makefile("w") as answers:
                child.serve(requests, answers, child.plain())
            os._exit(0)
        theirs.close()
        return _Fork(pid, ours)

    def version(self) -> str:
        return f"Python {sys.version.split()[0]}"


class _Fork:
    """One copy."""

    def __init__(self, pid: int, peer: socket.socket) -> None:
        self._pid = pid
        self._socket = peer
        self._answers = peer.makefile("r")

    async def run(self, code: str) -> str:
        self._socket.sendall(json.dumps(code).encode() + b"\n")
        answer = json.loads(self._answers.readline() or '{"error": "it ended"}')
        if "error" in answer:
            raise CellFailed(answer["error"])
        return str(answer["output"])

    async def close(self) -> None:
        os.kill(self._pid, 9)
        os.waitpid(self._pid, 0)
        self._answers.close()
        self._socket.close()
