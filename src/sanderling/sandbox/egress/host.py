"""
The host's side of the proxy: starts it, tells it who may reach what, writes down what it did.

The proxy is a process of its own with no rights (`process.py`); the host parses nothing that came
from a box. When it dies it is started again and told everything anew; meanwhile connections wait in
their boxes. What cannot be written down is not let through: a log that fails ends the proxy until
it can be written again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sanderling.errors import MachineUnfit, SpawnFailed
from sanderling.observe import logs
from sanderling.sandbox.egress import domains
from sanderling.sandbox.egress.audit import AuditFile
from sanderling.sandbox.egress.process import MESSAGE_BYTES_MAX

_START_S_MAX = 30.0
_BACKOFF_S = (0.1, 1.0, 10.0)
_SETTLED_S = 60.0  # who has worked for so long is started again at once
# What the proxy may know of the operator's environment.
_ENVIRONMENT = ("PATH", "LANG", "PYTHONPATH")
# Of the C library's resolver: a name that nobody answers for gives its thread back in time.
_RESOLVER = "timeout:2 attempts:2"

COMMAND = (sys.executable, "-P", "-B", "-m", "sanderling.sandbox.egress.process")


@dataclass(frozen=True, slots=True)
class _Grant:
    """What a container was granted, and the listener in its box."""

    listener: socket.socket
    organization_id: str
    domains: tuple[str, ...]


class Egress:
    """The way out of this host's boxes. `open`, then `close`; all in one event loop."""

    def __init__(
        self, allowed: Sequence[str], audit: Path, *, command: Sequence[str] = COMMAND
    ) -> None:
        """
        allowed: the operator's list (`domains.operators_list`), the most that any box is granted.
        audit: the file that gets a line for each request.
        """
        self._allowed = tuple(allowed)
        self._audit_path = audit
        self._command = command
        self._grants: dict[str, _Grant] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._outbox: asyncio.Queue[tuple[str, _Grant | None]] = asyncio.Queue()
        self._keeping: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start the proxy. Raises MachineUnfit: it cannot be given the little it may have."""
        await self._start()
        self._keeping = asyncio.create_task(self._keep(), name="egress")

    async def close(self) -> None:
        """End the proxy; nothing gets out any more."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        await self._stop()
        for container_id in list(self._grants):
            self.shut(container_id)

    @property
    def pid(self) -> int | None:
        """Of the proxy; None while there is none."""
        return None if self._process is None else self._process.pid

    def granted(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """Return those domains of `wanted` that the operator's list still has."""
        return tuple(domain for domain in wanted if domains.covers(self._allowed, domain))

    def grant(
        self,
        container_id: str,
        listener: int | None,
        granted: tuple[str, ...],
        *,
        organization_id: str = "",
    ) -> None:
        """
        Let a container's code reach these domains.

        listener: of its box (`wall/egress.py`), ours from here on.

        Raises:
            SpawnFailed: the box has none; its isolation level offers no way out.
        """
        if listener is None:
            raise SpawnFailed("A network policy is not possible with boxes of this kind.")
        self.shut(container_id)
        grant = _Grant(socket.socket(fileno=listener), organization_id, granted)
        self._grants[container_id] = grant
        self._outbox.put_nowait((container_id, grant))

    def shut(self, container_id: str) -> None:
        """Take back what was granted, if anything was; what is being transferred is broken off."""
        grant = self._grants.pop(container_id, None)
        if grant is not None:
            grant.listener.close()
            self._outbox.put_nowait((container_id, None))

    # ---- the process ---------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Work with the proxy, and start another whenever it dies."""
        loop = asyncio.get_running_loop()
        this = asyncio.current_task()
        assert this is not None
        attempt = 0
        while True:
            began = loop.time()
            try:
                await self._work()
            except (OSError, ValueError) as error:
                logs.error("egress.died", reason=str(error))
            if this.cancelling():  # `gather` forgets it for an error of the same moment
                raise asyncio.CancelledError
            if loop.time() - began > _SETTLED_S:
                attempt = 0
            await self._stop()
            while self._process is None:
                await asyncio.sleep(_BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)])
                attempt += 1
                try:
                    await self._start()
                except MachineUnfit as error:
                    logs.error("egress.died", reason=error.message)

    async def _start(self) -> None:
        environ = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        try:
            control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._control = control
            control.setblocking(False)
            with theirs:
                self._process = subprocess.Popen(  # noqa: ASYNC220 - returns at once
                    [*self._command, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=sys.stderr,
                    env={**environ, "RES_OPTIONS": _RESOLVER},
                )
            async with asyncio.timeout(_START_S_MAX):
                message = await self._receive(control)
        except (OSError, ValueError, TimeoutError) as error:
            await self._stop()
            raise MachineUnfit(f"The egress proxy did not start: {error}") from error
        if message.get("op") != "ready":
            await self._stop()
            raise MachineUnfit(f"The egress proxy cannot be confined: {message.get('error')}.")
        self._outbox = asyncio.Queue()
        for container_id, grant in self._grants.items():
            self._outbox.put_nowait((container_id, grant))

    async def _stop(self) -> None:
        process, self._process = self._process, None
        control, self._control = self._control, None
        if control is not None:
            control.close()
        if process is not None:
            process.kill()
            await asyncio.to_thread(process.wait)

    async def _work(self) -> None:
        """Tell and listen until one of the two fails. Raises OSError, ValueError."""
        assert self._control is not None
        audit = AuditFile(self._audit_path)
        both = [
            asyncio.create_task(self._tell(self._control)),
            asyncio.create_task(self._listen(self._control, audit)),
        ]
        try:
            await asyncio.gather(*both)
        finally:
            for each in both:
                each.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            audit.close()

    async def _tell(self, control: socket.socket) -> None:
        while True:
            container_id, grant = await self._outbox.get()
            message: dict[str, Any] = {"op": "shut", "container_id": container_id}
            fds: list[int] = []
            if grant is not None:
                if self._grants.get(container_id) is not grant:  # taken back meanwhile
                    continue
                message |= {"op": "open", "organization_id": grant.organization_id}
                message["domains"] = grant.domains
                fds.append(grant.listener.fileno())
            encoded = json.dumps(message).encode()
            while True:
                try:
                    socket.send_fds(control, [encoded], fds)
                    break
                except BlockingIOError:
                    await _until(control, is_writing=True)

    async def _listen(self, control: socket.socket, audit: AuditFile) -> None:
        while True:
            message = await self._receive(control)
            if message.pop("op", None) != "request":
                raise ValueError("The egress proxy said something that it may not say.")
            audit.write(message)
            logs.info(
                "egress.request",
                **{k: message.get(k) for k in ("container_id", "domain", "verdict", "reason")},
            )

    async def _receive(self, control: socket.socket) -> dict[str, Any]:
        while True:
            try:
                data = control.recv(MESSAGE_BYTES_MAX)
                break
            except BlockingIOError:
                await _until(control, is_writing=False)
        if not data:
            raise ConnectionError("its socket closed")
        message = json.loads(data)
        if not isinstance(message, dict):
            raise ValueError("not an object")  # noqa: TRY004 - the message is wrong, not a type
        return message


async def _until(control: socket.socket, *, is_writing: bool) -> None:
    """Wait until a socket can be written, or read."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    add, remove = (
        (loop.add_writer, loop.remove_writer)
        if is_writing
        else (loop.add_reader, loop.remove_reader)
    )
    add(control, ready.set)
    try:
        await ready.wait()
    finally:
        with contextlib.suppress(ValueError):  # closed meanwhile
            remove(control)
