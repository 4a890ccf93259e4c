from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sanderling.errors import InvalidRequest, NotFound
from sanderling.sandbox import data_folder
from sanderling.sandbox.base import ChangedFile
from sanderling.sandbox.data_folder import CHUNK_BYTES, DataFolder
from sanderling.sandbox.snapshots import Snapshot, walk


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


async def test_a_folder_without_entries_is_not_walked_again_until_it_gets_one(
    folder: DataFolder, data: Path, monkeypatch: pytest.MonkeyPatch
):
    walks: list[None] = []

    def counted(*args: object, **kwargs: object) -> Snapshot:
        walks.append(None)
        return walk(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(data_folder, "walk", counted)
    made = time.clock_gettime_ns(time.CLOCK_REALTIME)
    while os.stat(data).st_ctime_ns >= made - 20_000_000:
        await asyncio.sleep(0.005)
        made = time.clock_gettime_ns(time.CLOCK_REALTIME)

    for _ in range(3):
        assert (await folder.changes()).changed == ()
    assert len(walks) == 1
    (data / "sub").mkdir()
    (data / "sub" / "x").write_text("1")
    assert (await folder.changes()).changed == (ChangedFile("/mnt/data/sub/x", 1),)
    (data / "sub" / "x").write_text("22")
    assert (await folder.changes()).changed == (ChangedFile("/mnt/data/sub/x", 2),)
    (data / "sub" / "x").unlink()
    (data / "sub").rmdir()
    assert (await folder.changes()).removed == ("/mnt/data/sub/x",)
    (data / "link").symlink_to("/etc")
    (data / "link").unlink()
    os.utime(data, (0, 0))  # the box may set it; not its ctime
    (data / "y").write_text("1")
    assert (await folder.changes()).changed == (ChangedFile("/mnt/data/y", 1),)


async def test_a_file_made_in_the_tick_of_the_last_look_is_seen(folder: DataFolder, data: Path):
    for round_ in range(50):
        (data / "x").write_text(str(round_))
        assert (await folder.changes()).changed != ()
        (data / "x").unlink()
        assert (await folder.changes()).removed == ("/mnt/data/x",)


async def test_a_link_leads_to_a_file_in_the_box_and_is_never_one_of_its_files(
    folder: DataFolder, data: Path
):
    await folder.write("/mnt/data/a.csv", chunks(b"x"))
    (data / "own").write_text("own")
    await folder.changes()

    assert await folder.link("/mnt/data/file-1", "/mnt/data/a.csv")
    assert await folder.link("/mnt/data/sub/file-1", "/mnt/data/a.csv")
    assert not await folder.link("/mnt/data/own", "/mnt/data/a.csv")

    assert [(data / "file-1").read_text(), (data / "sub/file-1").read_text()] == ["x", "x"]
    assert (data / "own").read_text() == "own"
    found = await folder.changes()
    assert (found.changed, found.removed) == ((), ())
    with pytest.raises(NotFound):
        [_ async for _ in folder.read("/mnt/data/file-1")]

    (data / "file-1").unlink()
    (data / "file-1").symlink_to("/etc/passwd")
    assert await folder.link("/mnt/data/file-1", "/mnt/data/a.csv")
    assert (data / "file-1").read_text() == "x"
    for path, target in (("/mnt/data/../x", "/mnt/data/a.csv"), ("/mnt/data/x", "/etc/passwd")):
        with pytest.raises(InvalidRequest):
            await folder.link(path, target)
