"""
Finds the sandbox host of a data folder, or starts one.

A host outlives the server that started it, so the first thing a server does is to look for one that
is already at work with the same version and options, and use it. One that differs is ended and
replaced. The new host says through a pipe that it is ready, or why it refuses: nothing is polled.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sanderling.environments.catalog import DEFAULT
from sanderling.errors import HostUnavailable, SandboxError, SetupError
from sanderling.observe import logs
from sanderling.sandbox import levels, machine, wire
from sanderling.sandbox.client import HostClient
from sanderling.sandbox.host import package_version
from sanderling.sandbox.options import HostOptions
from sanderling.sandbox.wire import Message

# A living host answers at once; a busy machine gets its time.
_HELLO_DEADLINE_S = 10.0
# A zygote has 60 s to become warm, gVisor's checkpoint 120 (`zygotes.py`, `gvisor/maker.py`); the
# host's own start is small beside that.
_START_DEADLINE_S = 150.0
_STOP_DEADLINE_S = 15.0
# The log of one host's life is small; it is kept for one life more.
_LOG_BYTES_MAX = 4 << 20
_LOG_TAIL_BYTES = 2000

# What a host may know of the operator's environment: no key of a model server among it.
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "XDG_RUNTIME_DIR", "PYTHONPATH")


@dataclass(frozen=True, slots=True)
class HostProcess:
    """
    A host that is at work.

    is_new: this call started it; else it was found, with whatever boxes it has.
    """

    pid: int
    is_new: bool
    client: HostClient

    async def stop(self, *, deadline_s: float = _STOP_DEADLINE_S) -> None:
        """End the host and every box: by its own `shutdown`, past the deadline by force."""
        try:
            pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            with contextlib.suppress(SandboxError):
                await self.client.shutdown(deadline_s=deadline_s)
            for number in (signal.SIGTERM, signal.SIGKILL):
                if await _has_ended(pidfd, deadline_s):
                    break
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, number)
            else:
                await _has_ended(pidfd, deadline_s)
            with contextlib.suppress(ChildProcessError):  # started by another server
                _reap(pidfd)
        finally:
            os.close(pidfd)


async def launch(
    *,
    env: Path,
    data: Path,
    pool_size: int,
    boxes_max: int,
    boxes_per_tenant_max: int = 500,
    executions_max: int = 64,
    disk_bytes: int,
    logs_bytes_max: int,
    isolation: str = levels.DEFAULT,
    min_isolation: str = levels.DEFAULT,
    egress_domains: str = "",
    preload: str = "",
    environments: Path | None = None,
    environment: str | None = None,
    environments_max: int = 4,
    environment_idle_s: float = 600.0,
    log_level: str = "warning",
    command: Sequence[str] = (sys.executable, "-P", "-m", "sanderling.sandbox.host"),
) -> tuple[HostClient, HostProcess]:
    """
    Return the host of the data folder `data`: the living one if it fits, else a new one.

    Args:
        env: the guest environment.
        data: gets a folder `host` with the socket, the lock and the log `host.log`.
        boxes_per_tenant_max: how many of `boxes_max` one tenant may have.
        executions_max: how many cells run at once; the others wait, tenants in turn.
        isolation: what runs, or nothing does; min_isolation: the least that may (`levels.py`).
        disk_bytes: quota of one box. logs_bytes_max: of one execution.
        egress_domains: the most that boxes may reach, as `egress/domains.py` writes a list.
        preload: modules to load before boxes are forked (`preloads.parse`).
        environments: the folder of the named environments; environment: of whoever names none,
            None: that of `env`; environments_max: others at work at once; environment_idle_s: how
            long one of them without boxes stays.
        log_level: of `host.log`; at `info` it grows by a line for every execution.
        command: the program that is the host; the tests have another.

    Raises:
        MachineUnfit, SetupError: the new host refuses; the text says what to do.
        HostUnavailable: it ended or said nothing in time, or a living one does not answer.
    """
    options = HostOptions(
        env=str(machine.absolute(env)),
        disk_bytes=disk_bytes,
        logs_bytes_max=logs_bytes_max,
        pool_size=pool_size,
        boxes_max=boxes_max,
        boxes_per_tenant_max=boxes_per_tenant_max,
        executions_max=executions_max,
        isolation=isolation,
        min_isolation=min_isolation,
        egress_domains=egress_domains,
        preload=preload,
        environments="" if environments is None else str(machine.absolute(environments)),
        environment=environment or DEFAULT,
        environments_max=environments_max,
        environment_idle_s=environment_idle_s,
    )
    socket_path = machine.socket_path(data)
    folder = machine.host_folder(data)
    client = HostClient(socket_path)
    async with _turn(folder / "launch.lock"):
        if (found := await _living(client, options)) is not None:
            return client, found
        pid = await _start(command, options, folder, socket_path, log_level)
        return client, HostProcess(pid, is_new=True, client=client)


async def _living(client: HostClient, options: HostOptions) -> HostProcess | None:
    """Return the host that is at work if it fits; end it if it does not."""
    try:
        hello = Message(await client.hello(deadline_s=_HELLO_DEADLINE_S))
    except HostUnavailable:
        return None
    status = hello.header.get("status")
    process = HostProcess(
        pid=Message(status if isinstance(status, dict) else {}).integer("pid"),
        is_new=False,
        client=client,
    )
    same = {"version": wire.VERSION, "package": package_version(), "options": asdict(options)}
    if all(hello.header.get(name) == value for name, value in same.items()):
        return process
    logs.info("host.replaced", pid=process.pid)
    await process.stop()
    return None


async def _start(
    command: Sequence[str],
    options: HostOptions,
    folder: Path,
    socket_path: Path,
    log_level: str,
) -> int:
    """Start a host and wait until it is ready; return its process number."""
    log_path = folder / "host.log"
    ready, ready_write = os.pipe2(os.O_CLOEXEC)
    try:
        with _log_file(log_path) as log:
            process = subprocess.Popen(  # noqa: ASYNC220 - returns at once, and must outlive us
                [
                    *command,
                    *("--socket", str(socket_path), "--lock", str(folder / "host.lock")),
                    *("--ready-fd", str(ready_write), "--log-level", log_level),
                    *("--options", json.dumps(asdict(options))),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[ready_write],
                env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
                # A session of its own: ^C in the server's terminal is the server's alone.
                start_new_session=True,
            )
    except OSError as error:
        os.close(ready)
        raise SetupError(f"The sandbox host cannot be started: {error}.") from error
    finally:
        os.close(ready_write)
    try:
        await _until_ready(ready, log_path)
    except BaseException:
        process.kill()
        await asyncio.to_thread(process.wait)
        raise
    # It outlives this object, maybe this process: Popen must not warn that it still runs.
    process.returncode = 0
    return process.pid


async def _until_ready(ready: int, log_path: Path) -> None:
    """Wait for the host's one line. Raises what it says, or HostUnavailable."""
    try:
        async with asyncio.timeout(_START_DEADLINE_S):
            line = await _first_line(ready)
    except TimeoutError as error:
        raise HostUnavailable(
            f"The sandbox host was not ready after {_START_DEADLINE_S:g} s; see {log_path}."
        ) from error
    if not line:
        raise HostUnavailable(
            f"The sandbox host ended before it was ready. The end of {log_path}:\n{_tail(log_path)}"
        )
    wire.raise_if_error(Message(json.loads(line)))


async def _first_line(fd: int) -> bytes:
    """Read from a pipe to its end, without a thread."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", buffering=0)
    )
    try:
        return await reader.readline()
    finally:
        transport.close()


def _reap(pidfd: int) -> None:
    os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)


async def _has_ended(pidfd: int, deadline_s: float) -> bool:
    """Wait until the process ends; False when it has not by the deadline."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(pidfd, ended.set)
    try:
        async with asyncio.timeout(deadline_s):
            await ended.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(pidfd)
    return True


@contextlib.asynccontextmanager
async def _turn(path: Path) -> AsyncIterator[None]:
    """One launcher at a time per data folder; the others wait and find its host."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        await asyncio.to_thread(fcntl.flock, fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def _log_file(path: Path) -> Iterator[int]:
    if path.exists() and path.stat().st_size > _LOG_BYTES_MAX:
        path.replace(path.with_suffix(".log.1"))
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


def _tail(path: Path) -> str:
    return path.read_bytes()[-_LOG_TAIL_BYTES:].decode("utf-8", "replace").strip()
