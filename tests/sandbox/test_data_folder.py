from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sanderling.errors import InvalidRequest, NotFound
from sanderling.sandbox.base import ChangedFile
from sanderling.sandbox.data_folder import CHUNK_BYTES, DataFolder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def folder(data: Path) -> Iterator[DataFolder]:
    fd = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
    made = DataFolder(fd, None)
    os.close(fd)
    yield made
    made.close()


async def chunks(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_what_is_written_is_read_back_in_bounded_chunks(folder: DataFolder):
    content = os.urandom(2 * CHUNK_BYTES + 17)
    count = await folder.write("/mnt/data/x", chunks(content[:100], content[100:]))
    pieces = [piece async for piece in folder.read("/mnt/data/x")]

    assert count == len(content)
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= CHUNK_BYTES


async def test_changes_tell_what_the_guest_did_and_not_what_the_host_did(
    folder: DataFolder, data: Path
):
    await folder.write("/mnt/data/uploaded", chunks(b"x"))
    (data / "made").write_text("22")
    first = await folder.changes()
    (data / "uploaded").write_text("changed")
    (data / "made").unlink()
    second = await folder.changes()
    await folder.delete("/mnt/data/uploaded")
    third = await folder.changes()

    assert (first.changed, first.removed) == ((ChangedFile("/mnt/data/made", 2),), ())
    assert second.changed == (ChangedFile("/mnt/data/uploaded", 7),)
    assert second.removed == ("/mnt/data/made",)
    assert (third.changed, third.removed) == ((), ())


async def test_many_files_are_all_seen(folder: DataFolder, data: Path):
    for number in range(500):
        (data / f"{number}").write_text("")
    found = await folder.changes()

    assert len(found.changed) == 500
    assert found.is_complete


async def test_a_file_rewritten_with_as_many_bytes_at_once_is_seen_to_change(
    folder: DataFolder, data: Path
):
    for round_ in range(20):
        (data / "x").write_text(str(round_ % 10))
        found = await folder.changes()
        assert found.changed == (ChangedFile("/mnt/data/x", 1),)
        await folder.settle()


async def test_a_closed_folder_is_gone_but_its_reader_finishes(folder: DataFolder):
    content = os.urandom(3 * CHUNK_BYTES)
    await folder.write("/mnt/data/x", chunks(content))
    reading = folder.read("/mnt/data/x")
    first = await anext(reading)
    folder.close()
    rest = [piece async for piece in reading]

    assert b"".join([first, *rest]) == content
    with pytest.raises(NotFound):
        await anext(folder.read("/mnt/data/x"))
    with pytest.raises(NotFound):
        await folder.write("/mnt/data/y", chunks(b""))


async def test_a_source_that_fails_leaves_no_file(folder: DataFolder, data: Path):
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await folder.write("/mnt/data/x", broken())

    assert list(data.iterdir()) == []


async def test_a_bad_path_is_refused_before_the_source_is_read(folder: DataFolder):
    async def untouched() -> AsyncIterator[bytes]:
        raise AssertionError
        yield b""

    with pytest.raises(InvalidRequest):
        await folder.write("/mnt/data/../x", untouched())


async def test_a_cancelled_write_waits_for_its_thread_before_it_closes_anything(
    folder: DataFolder, data: Path, monkeypatch: pytest.MonkeyPatch
):
    entered, go_on, seen = threading.Event(), threading.Event(), []
    real_write = os.write

    def slow_write(fd: int, piece: bytes) -> int:
        entered.set()
        go_on.wait(10)
        seen.append(os.fstat(fd).st_size)  # raises if it was closed under us
        return real_write(fd, piece)

    monkeypatch.setattr(os, "write", slow_write)
    writing = asyncio.ensure_future(folder.write("/mnt/data/x", chunks(b"abc")))
    await asyncio.to_thread(entered.wait, 10)
    writing.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await writing

    assert seen == [0]
    assert list(data.iterdir()) == []
