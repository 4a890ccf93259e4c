"""
The sandbox host: the process that owns every box of this machine.

It is a process of its own so that a server that is killed takes no box with it: the next one finds
the host at work. A server that is stopped in order ends its host. `launch.py`
starts it as `python -m sanderling.sandbox.host`; it says through a pipe that it is ready or why it
refuses, and then answers calls (`calls.py`) until it is told to end, by the `shutdown` call or by a
signal. A lock file sees to it that a data folder has one host at most.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from sanderling.errors import HostUnavailable, SanderlingError
from sanderling.observe import logs
from sanderling.sandbox import levels, machine
from sanderling.sandbox.calls import CallServer
from sanderling.sandbox.egress import domains
from sanderling.sandbox.egress.host import Egress
from sanderling.sandbox.local import LocalSandbox, Start
from sanderling.sandbox.options import HostOptions
from sanderling.sandbox.wire import error_header


def main(arguments: Sequence[str] | None = None, *, start: Start = levels.start) -> int:
    """
    Run a host until it is told to end; return the exit code.

    arguments: see `arguments_of`; None: the command line's.
    start: starts a zygote; the tests pass a double.
    """
    parser = argparse.ArgumentParser(prog="sanderling.sandbox.host", allow_abbrev=False)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--lock", type=Path, required=True)
    parser.add_argument("--ready-fd", type=int, required=True)
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--options", type=json.loads, required=True)
    given = parser.parse_args(arguments)
    logs.configure(given.log_level)
    launcher = _Launcher(given.ready_fd)
    try:
        machine.allow_many_descriptors()
        lock = _lock(given.lock)
        audit = given.lock.with_name("egress.log")
        asyncio.run(_serve(HostOptions(**given.options), start, given.socket, launcher, audit))
    except SanderlingError as error:
        logs.error("host.refused", reason=error.message)
        launcher.tell(error_header(error))
        return 1
    given.socket.unlink(missing_ok=True)
    os.close(lock)
    return 0


def package_version() -> str:
    """The version of the running code, which a server and its host must share."""
    return metadata.version("sanderling")


async def _serve(
    options: HostOptions, start: Start, socket_path: Path, launcher: _Launcher, audit: Path
) -> None:
    allowed = domains.operators_list(options.egress_domains)
    sandbox = LocalSandbox(options, start, egress=Egress(allowed, audit) if allowed else None)
    facts = {"options": asdict(options), "package": package_version()}
    server = CallServer(sandbox, facts)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.is_told_to_end.set)
    await sandbox.open()
    try:
        await server.open(socket_path)
        logs.info("host.ready", pid=os.getpid())
        launcher.tell({"ready": True, "pid": os.getpid()})
        await server.is_told_to_end.wait()
        logs.info("host.stopping")
    finally:
        server.stop_listening()
        # Boxes first: their executions end, and whoever follows one is told so.
        await sandbox.end()
        await server.close()


def _lock(path: Path) -> int:
    """Hold the lock file as long as this process lives. Raises HostUnavailable: one has it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(fd, 20, 0).decode("ascii", "replace")
        os.close(fd)
        raise HostUnavailable(
            f"A sandbox host is at work for this data folder (process {owner}) and does not "
            f"answer. End it and try again: kill {owner}"
        ) from error
    os.truncate(fd, 0)
    os.pwrite(fd, str(os.getpid()).encode(), 0)
    return fd


class _Launcher:
    """The process that started this one and waits at the other end of a pipe for one line."""

    def __init__(self, fd: int) -> None:
        os.set_inheritable(fd, False)  # the zygote must not hold it open
        self._fd: int | None = fd

    def tell(self, message: dict[str, Any]) -> None:
        """Say it, the first time; the launcher may be gone, and then nobody needs to know."""
        fd, self._fd = self._fd, None
        if fd is None:
            return
        with contextlib.suppress(BrokenPipeError):
            os.write(fd, json.dumps(message).encode() + b"\n")
        os.close(fd)


if __name__ == "__main__":
    sys.exit(main())
