from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from sanderling.sandbox import wire
from sanderling.sandbox.connection import Connection


async def test_what_was_sent_in_pieces_is_read_in_other_pieces():
    ours, theirs = map(Connection, socket.socketpair())
    for piece in (b"ab", b"cdef", b"g"):
        ours.write(piece)
    await ours.drain()
    ours.write(b"hi")
    await ours.drain()

    assert [await theirs.readexactly(n) for n in (1, 4, 0, 4)] == [b"a", b"bcde", b"", b"fghi"]
    ours.close()
    theirs.close()


async def test_an_end_in_the_middle_says_what_was_there():
    ours, theirs = map(Connection, socket.socketpair())
    ours.write(b"abc")
    await ours.drain()
    ours.close()

    with pytest.raises(asyncio.IncompleteReadError) as caught:
        await theirs.readexactly(5)

    assert (caught.value.partial, caught.value.expected) == (b"abc", 5)
    assert await wire.receive(theirs) is None
    theirs.close()


async def test_a_large_message_arrives_whole_while_both_ends_wait_for_each_other():
    ours, theirs = map(Connection, socket.socketpair())
    body = os.urandom(5 << 20)

    sending = asyncio.create_task(wire.send(ours, {"op": "x"}, body))
    message = await wire.receive(theirs, body_bytes_max=len(body))
    await sending

    assert message is not None
    assert message.body == body
    ours.close()
    theirs.close()


async def test_a_writer_whose_other_end_is_gone_is_told():
    ours, theirs = map(Connection, socket.socketpair())
    theirs.close()
    ours.write(b"x")

    with pytest.raises(ConnectionError):
        await ours.drain()

    ours.close()


async def test_nobody_there_is_an_error_and_leaves_no_descriptor(tmp_path: Path):
    before = len(os.listdir("/proc/self/fd"))

    with pytest.raises(FileNotFoundError):
        Connection.connect(tmp_path / "nobody.sock")

    assert len(os.listdir("/proc/self/fd")) == before
