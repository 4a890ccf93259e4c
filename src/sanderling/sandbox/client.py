"""
A sandbox whose boxes live in another process: the server's end of the host's Unix socket.

Every call opens a connection of its own, so a slow stream holds up nothing and there is no state to
lose. Errors that the host raises are raised here again as the class they were.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

from sanderling.errors import HostUnavailable, InvalidRequest, ProtocolBroken
from sanderling.sandbox import wire
from sanderling.sandbox.base import BoxLimits, ChangedFile, Ended, Happening, HostStatus
from sanderling.sandbox.connection import Connection
from sanderling.sandbox.wire import Message

# Answers that take no user code to give. A box takes milliseconds; a zygote that died, seconds.
ANSWER_DEADLINE_S = 60.0
# What an execution may take beside its own time: a turn at the host (120 s), the box's files looked
# at, a kernel made anew. A host that is silent for longer is stuck.
EXECUTION_EXTRA_S = 240.0
# For the next piece of a file, either way.
_PIECE_DEADLINE_S = 60.0


class HostClient:
    """A `base.Sandbox` behind the socket of a sandbox host."""

    def __init__(
        self, socket_path: Path, *, replace: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """
        No connection is made before the first call.

        replace: brings a host where none takes calls; then the call is made once more.
        """
        self.socket_path = socket_path
        self._replace = replace

    async def hello(self, *, deadline_s: float = ANSWER_DEADLINE_S) -> dict[str, Any]:
        """Return who answers: `version`, `status`, `options` and `package`."""
        return (await self._ask({"op": "hello"}, deadline_s=deadline_s)).header

    async def status(self) -> HostStatus:
        """See `base.Sandbox`; so for all below."""
        status = (await self.hello()).get("status")
        try:
            if not isinstance(status, dict):
                _no_status()
            return HostStatus(**{**status, "soft_limits": tuple(status["soft_limits"])})
        except (KeyError, TypeError) as error:
            raise ProtocolBroken("The sandbox host's status is not understood.") from error

    async def create(
        self, container_id: str, limits: BoxLimits, *, tenant: str = "", environment: str = ""
    ) -> bool:
        call: dict[str, Any] = {"op": "create", "container_id": container_id, "tenant": tenant}
        call |= {"memory_bytes": limits.memory_bytes, "cpu_count": limits.cpu_count}
        call |= {"allowed_domains": limits.allowed_domains, "environment": environment}
        call |= {"read_only": limits.read_only}
        return (await self._ask(call)).flag("is_new")

    async def execute(
        self, container_id: str, execution_id: str, code: str, *, timeout_s: float
    ) -> AsyncGenerator[Happening, None]:
        body = code.encode("utf-8", "replace")
        if len(body) > wire.CODE_BYTES_MAX:
            raise InvalidRequest(f"The code is longer than {wire.CODE_BYTES_MAX} bytes.")
        call = {"op": "execute", "container_id": container_id, "execution_id": execution_id}
        async with contextlib.aclosing(
            self._follow({**call, "timeout_s": timeout_s}, body, timeout_s + EXECUTION_EXTRA_S)
        ) as happenings:
            async for _, happening in happenings:
                yield happening

    async def events(
        self, container_id: str, execution_id: str, *, after: int = -1
    ) -> AsyncGenerator[tuple[int, Happening], None]:
        """
        Yield (sequence, happening) of a known execution, those after `after`, to its Ended.

        Raises: NotFound (no box, no such execution), Conflict (no longer kept), HostUnavailable.
        """
        call = {"op": "events", "container_id": container_id, "execution_id": execution_id}
        async with contextlib.aclosing(self._follow({**call, "after": after})) as happenings:
            async for sequence, happening in happenings:
                yield sequence, happening

    async def interrupt(self, container_id: str, execution_id: str) -> bool:
        call = {"op": "interrupt", "container_id": container_id, "execution_id": execution_id}
        return (await self._ask(call)).flag("is_there")

    async def write_file(self, container_id: str, path: str, data: AsyncIterable[bytes]) -> int:
        call = {"op": "write_file", "container_id": container_id, "path": path}
        async with self._connection(call) as connection:
            # The answer may come before the end: when the box is full, or the path is no good.
            answer = asyncio.ensure_future(wire.receive(connection))
            try:
                async for chunk in data:
                    if answer.done():
                        break
                    for start in range(0, len(chunk), wire.BODY_BYTES_MAX):
                        piece = chunk[start : start + wire.BODY_BYTES_MAX]
                        async with _in_time(_PIECE_DEADLINE_S):
                            await wire.send(connection, {}, piece)
                async with _in_time(_PIECE_DEADLINE_S):
                    if not answer.done():
                        await wire.send(connection, {"end": True})
                    return _checked(await answer).integer("bytes")
            finally:
                answer.cancel()
                await asyncio.gather(answer, return_exceptions=True)

    async def read_file(self, container_id: str, path: str) -> AsyncGenerator[bytes, None]:
        call = {"op": "read_file", "container_id": container_id, "path": path}
        async with self._connection(call) as connection:
            while True:
                async with _in_time(_PIECE_DEADLINE_S):
                    message = _checked(await wire.receive(connection))
                if message.header.get("end"):
                    return
                yield message.body

    async def delete_file(self, container_id: str, path: str) -> bool:
        call = {"op": "delete_file", "container_id": container_id, "path": path}
        return (await self._ask(call)).flag("was_there")

    async def link_file(self, container_id: str, path: str, target: str) -> bool:
        call = {"op": "link_file", "container_id": container_id, "path": path, "target": target}
        return (await self._ask(call)).flag("leads_there")

    async def list_files(self, container_id: str) -> list[ChangedFile]:
        call = {"op": "list_files", "container_id": container_id}
        return wire.files_of(await self._ask(call, body_bytes_max=wire.HAPPENING_BYTES_MAX))

    async def containers(self) -> list[str]:
        call = {"op": "containers"}
        return wire.ids_of(await self._ask(call, body_bytes_max=wire.HAPPENING_BYTES_MAX))

    async def close(self, container_id: str) -> bool:
        return (await self._ask({"op": "close", "container_id": container_id})).flag("was_there")

    async def shutdown(self, *, deadline_s: float = ANSWER_DEADLINE_S) -> None:
        """Tell the host to end. Returns when it has heard, not when it is gone."""
        await self._ask({"op": "shutdown"}, deadline_s=deadline_s)

    # ---- connections ---------------------------------------------------------------------------

    async def _ask(
        self,
        call: dict[str, Any],
        *,
        deadline_s: float = ANSWER_DEADLINE_S,
        body_bytes_max: int = wire.BODY_BYTES_MAX,
    ) -> Message:
        """Make a call that has one answer."""
        async with _in_time(deadline_s), self._connection(call) as connection:
            return _checked(await wire.receive(connection, body_bytes_max=body_bytes_max))

    async def _follow(
        self, call: dict[str, Any], body: bytes = b"", deadline_s: float | None = None
    ) -> AsyncGenerator[tuple[int, Happening], None]:
        """Make a call that is answered by happenings, up to an Ended within the deadline."""
        began_s = asyncio.get_running_loop().time()
        async with self._connection(call, body) as connection:
            while True:
                left_s = None
                if deadline_s is not None:
                    left_s = began_s + deadline_s - asyncio.get_running_loop().time()
                async with _in_time(left_s):
                    message = await wire.receive(
                        connection, body_bytes_max=wire.HAPPENING_BYTES_MAX
                    )
                sequence, happening = wire.happening_of(_checked(message))
                yield sequence, happening
                if isinstance(happening, Ended):
                    return

    @contextlib.asynccontextmanager
    async def _connection(
        self, call: dict[str, Any], body: bytes = b""
    ) -> AsyncIterator[Connection]:
        """Connect and send `call`; close in the end. Raises HostUnavailable."""
        connection = await self._connect()
        try:
            async with _in_time(ANSWER_DEADLINE_S):
                await wire.send(connection, {"version": wire.VERSION, **call}, body)
            yield connection
        except ConnectionError as error:
            raise HostUnavailable("The sandbox host went away during a call.") from error
        finally:
            connection.close()

    async def _connect(self) -> Connection:
        if self._replace is not None:
            try:
                return Connection.connect(self.socket_path)
            except OSError:
                await self._replace()
        try:
            return Connection.connect(self.socket_path)
        except OSError as error:
            raise HostUnavailable(
                f"No sandbox host answers at {self.socket_path}: {error.strerror}."
            ) from error


@contextlib.asynccontextmanager
async def _in_time(deadline_s: float | None) -> AsyncIterator[None]:
    """Raises HostUnavailable: the block took longer."""
    try:
        async with asyncio.timeout(deadline_s):
            yield
    except TimeoutError as error:
        raise HostUnavailable(
            f"The sandbox host did not answer within {deadline_s:g} s."
        ) from error


def _checked(message: Message | None) -> Message:
    """Return an answer that is one. Raises what it carries, or HostUnavailable."""
    if message is None:
        raise HostUnavailable("The sandbox host went away during a call.")
    return wire.raise_if_error(message)


def _no_status() -> NoReturn:
    raise ProtocolBroken("The sandbox host did not say its status.")
