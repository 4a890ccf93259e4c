"""
A spawner without a wall, for tests of everything above it: never shipped, safe for nothing.

Same interface as `sandbox.spawner.Spawner`. Boxes are real `Box` objects with real kernels, but
each kernel is an ordinary child process that works in a temporary folder in place of /mnt/data. A
process that does nothing plays the zygote: when it ends, all kernels are killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from sanderling.errors import SpawnFailed
from sanderling.sandbox.box import Box, Descriptors, Handles
from sanderling.sandbox.spawner import ZygoteFacts

# Descriptors 0, 1 and 2 are Popen's; these take the places that docs/protocol.md names.
_KERNEL = (
    "import os, sys\n"
    "for at, fd in enumerate(map(int, sys.argv[1:]), start=3):\n"
    "    os.dup2(fd, at, inheritable=False)\n"
    "os.closerange(6, 100)\n"
    "from sanderling.kernel import main\n"
    "main.serve()\n"
)
_SPARE = 50


class PlainSpawner:
    """Kernels as child processes."""

    def __init__(self, *, logs_bytes_max: int = 1 << 20) -> None:
        self.facts = ZygoteFacts(
            python="3",
            modules=(),
            preload_ms=0.0,
            landlock_abi=0,
            cgroups="none",
            soft_limits=(),
            uids="single",
            uids_weakness="it has no boxes",
            uids_remedy=None,
        )
        self.spawned = 0
        self.refuses: Exception | None = None  # raised by the next spawn or respawn
        self.first_held_back = 1 << 30  # spawns from this number on wait for `go_on`
        self.go_on = asyncio.Event()
        self._logs_bytes_max = logs_bytes_max
        self._root = Path(tempfile.mkdtemp(prefix="sanderling-plain-"))
        self._folders: dict[str, Path] = {}
        self._kernels: list[subprocess.Popen[bytes]] = []
        self._zygote = subprocess.Popen(
            # It ends with this process, however that ends: the pipe closes.
            [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()"],
            stdin=subprocess.PIPE,
        )
        self._pidfd = os.pidfd_open(self._zygote.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._kill_all)

    @classmethod
    async def start(cls, *_: object, logs_bytes_max: int = 1 << 20) -> PlainSpawner:
        return cls(logs_bytes_max=logs_bytes_max)

    @property
    def pid(self) -> int:
        return self._zygote.pid

    @property
    def is_alive(self) -> bool:
        return self._zygote.poll() is None

    async def spawn(self, *, read_only: bool = False) -> Box:
        if read_only:
            raise SpawnFailed("Without a wall nothing keeps code from writing files.")
        if self.spawned >= self.first_held_back:
            await self.go_on.wait()
        self._check()
        folder = self._root / secrets.token_hex(4)
        folder.mkdir()
        data = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self._start(folder, Handles(data, []))

    async def respawn(self, dead: Box) -> Box:
        handles = dead.hand_over()
        try:
            self._check()
        except Exception:
            handles.close()
            raise
        return self._start(self._folders[dead.id], handles)

    async def close(self) -> None:
        if self._pidfd >= 0:
            self._kill_all()
        self._zygote.kill()
        self._zygote.wait()
        assert self._zygote.stdin is not None
        self._zygote.stdin.close()
        for kernel in self._kernels:
            kernel.wait()
        shutil.rmtree(self._root, ignore_errors=True)

    def _check(self) -> None:
        if not self.is_alive:
            raise SpawnFailed("The zygote is gone; no box can be forked.")
        if self.refuses is not None:
            refusal, self.refuses = self.refuses, None
            raise refusal
        self.spawned += 1

    def _start(self, folder: Path, handles: Handles) -> Box:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        out_read, out_write = os.pipe2(os.O_CLOEXEC)
        err_read, err_write = os.pipe2(os.O_CLOEXEC)
        for fd in (out_read, err_read):
            os.set_blocking(fd, False)
        ours.setblocking(False)
        # High numbers, so that none is in the way of the places they go to.
        passed = [
            fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _SPARE)
            for fd in (theirs.fileno(), out_read, err_read)
        ]
        kernel = subprocess.Popen(
            [sys.executable, "-c", _KERNEL, *map(str, passed)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out_write,
            stderr=err_write,
            pass_fds=passed,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"},
        )
        for fd in (*passed, out_write, err_write):
            os.close(fd)
        theirs.close()
        self._kernels.append(kernel)
        box = Box(
            secrets.token_hex(8),
            pid=kernel.pid,
            pidfd=os.pidfd_open(kernel.pid),
            descriptors=Descriptors(ours, out_read, err_read),
            handles=handles,
            group=None,
            guest_uid=0,
            logs_bytes_max=self._logs_bytes_max,
        )
        self._folders[box.id] = folder
        return box

    def _kill_all(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        for kernel in self._kernels:
            with contextlib.suppress(ProcessLookupError):
                kernel.send_signal(signal.SIGKILL)
