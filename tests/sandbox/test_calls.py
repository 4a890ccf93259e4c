"""The host's socket as a stranger, a stuck reader and a broken client meet it."""

from __future__ import annotations

import asyncio
import os
import stat
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sanderling.sandbox import calls, wire
from sanderling.sandbox.base import Result
from tests.sandbox.stages import DEADLINE_S, LIMITS, Stage, chunks, staged, until


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path, "socket") as made:
        yield made


async def exchange(path: Path, sent: bytes) -> bytes:
    """Send raw bytes; return all that comes back until the host hangs up."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(sent)
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), DEADLINE_S)
    finally:
        writer.close()


def frame(header: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">II", len(header), len(body)) + header + body


async def test_the_socket_is_for_its_user_only(host: Stage):
    assert stat.S_IMODE(host.socket_path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        struct.pack(">II", 0xFFFFFFFF, 0),
        frame(b"[]"),
        frame(b"{}"),
        frame(b'{"op": "fly", "version": 3}'),
        frame(b'{"op": "create"}'),
        frame(b'{"op": "create", "version": 3, "container_id": 5, "memory_bytes": 1}'),
        frame(b'{"op": "execute", "version": 3, "container_id": "c", "execution_id": "e"}', b"1"),
        frame(b'{"op": "create", "version": 3}')[:-3],
    ],
)
async def test_nonsense_is_answered_and_hurts_nobody(host: Stage, sent: bytes):
    answer = await exchange(host.socket_path, sent)

    assert b"ProtocolBroken" in answer
    assert await host.sandbox.create("cntr_a", LIMITS)


async def test_a_connection_without_a_call_is_let_go(host: Stage):
    assert await exchange(host.socket_path, b"") == b""


async def test_another_version_is_refused_but_may_ask_and_tell_to_end(host: Stage):
    refused = await exchange(host.socket_path, frame(b'{"op": "close", "version": 99}'))
    hello = await exchange(host.socket_path, frame(b'{"op": "hello", "version": 99}'))

    assert b"HostUnavailable" in refused
    assert b'"version": 3' in hello


async def test_a_reader_that_does_not_read_holds_up_nobody(host: Stage):
    await host.sandbox.create("cntr_a", LIMITS)
    await host.sandbox.write_file("cntr_a", "/mnt/data/big", chunks(*[bytes(1 << 20)] * 30))
    _, writer = await asyncio.open_unix_connection(host.socket_path)
    await wire.send(
        writer,
        {"op": "read_file", "version": 3, "container_id": "cntr_a", "path": "/mnt/data/big"},
    )
    stuck = host.follow("print('x' * 900_000)", execution_id="slow")
    await anext(stuck)  # and reads no further
    shown = await host.run("1 + 1", execution_id="quick")

    assert shown[0] == Result("2")
    await stuck.aclose()
    writer.close()


async def test_a_client_that_vanishes_in_the_middle_of_a_write_leaves_no_file(host: Stage):
    await host.sandbox.create("cntr_a", LIMITS)
    _, writer = await asyncio.open_unix_connection(host.socket_path)
    call = {"op": "write_file", "version": 3, "container_id": "cntr_a", "path": "/mnt/data/x"}
    await wire.send(writer, call)
    await wire.send(writer, {}, b"half")
    keeper = host.local._keepers["cntr_a"]
    await until(lambda: keeper.files._users == 1)
    writer.close()
    await until(lambda: keeper.files._users == 0)

    assert (await host.run("import os; os.listdir()"))[0] == Result("[]")


async def test_no_call_leaves_a_descriptor_open(host: Stage):
    await host.sandbox.create("cntr_a", LIMITS)
    await host.run("1")
    before = len(os.listdir("/proc/self/fd"))
    for number in range(5):
        await host.sandbox.write_file("cntr_a", "/mnt/data/x", chunks(b"x"))
        assert [c async for c in host.sandbox.read_file("cntr_a", "/mnt/data/x")] == [b"x"]
        await host.run("1", execution_id=f"more_{number}")

    await until(lambda: len(os.listdir("/proc/self/fd")) <= before)


@pytest.mark.parametrize("stuck", ["reading", "writing", "after an error"])
async def test_a_client_that_is_stuck_is_let_go_and_leaves_nothing(
    host: Stage, monkeypatch: pytest.MonkeyPatch, stuck: str
):
    monkeypatch.setattr(calls, "_STUCK_S", 0.1)
    await host.sandbox.create("cntr_a", LIMITS)
    await host.sandbox.write_file("cntr_a", "/mnt/data/big", chunks(*[bytes(1 << 20)] * 8))
    before = len(os.listdir("/proc/self/fd"))
    _, writer = await asyncio.open_unix_connection(host.socket_path)
    op = "read_file" if stuck == "reading" else "write_file"
    path = "/etc/x" if stuck == "after an error" else "/mnt/data/big"
    await wire.send(writer, {"op": op, "version": 3, "container_id": "cntr_a", "path": path})

    writer.transport.pause_reading()  # type: ignore[attr-defined]
    keeper = host.local._keepers["cntr_a"]
    await until(lambda: keeper.files._users == 0 and len(os.listdir("/proc/self/fd")) <= before + 1)
    writer.close()
    assert (await host.run("import os; os.listdir()"))[0] == Result("['big']")
