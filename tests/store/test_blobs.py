from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap

import pytest

from sanderling.errors import NotFound, SetupError, TooLarge
from sanderling.ids import new_id
from sanderling.store.blobs import CHUNK_BYTES, FLUSH_BYTES, Blobs

ANY = 1 << 40


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path / "blobs")


def files_below(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


async def write(blobs, *chunks, bytes_max=ANY):
    async with blobs.writer(bytes_max=bytes_max) as writer:
        for chunk in chunks:
            await writer.write(chunk)
    return writer


async def read(blobs, blob_id):
    return [chunk async for chunk in blobs.read(blob_id)]


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [b"", b"a", b"", b"bc"],
        [b"x" * CHUNK_BYTES],
        [b"x" * (CHUNK_BYTES - 1), b"yz"],
        [os.urandom(1000)] * 5000,
        [b"x" * (3 * CHUNK_BYTES + 5), b"tail"],
        [memoryview(b"view"), bytearray(b"array")],
    ],
    ids=["empty", "tiny", "one piece", "over the edge", "many small", "large", "other types"],
)
async def test_what_was_written_is_read_whatever_the_sizes(blobs, chunks):
    writer = await write(blobs, *chunks)

    pieces = await read(blobs, writer.blob_id)

    assert b"".join(pieces) == b"".join(chunks)
    assert all(0 < len(piece) <= CHUNK_BYTES for piece in pieces)
    assert writer.bytes == await blobs.size(writer.blob_id) == sum(map(len, chunks))


async def test_a_blob_larger_than_what_is_flushed_at_once_is_whole(blobs):
    piece = os.urandom(CHUNK_BYTES)
    count = FLUSH_BYTES // CHUNK_BYTES + 2

    writer = await write(blobs, *[piece] * count)

    assert await blobs.size(writer.blob_id) == count * CHUNK_BYTES
    assert set(await read(blobs, writer.blob_id)) == {piece}


async def test_a_writer_may_change_its_buffer_after_each_write(blobs):
    buffer = bytearray(b"a" * CHUNK_BYTES)
    async with blobs.writer(bytes_max=ANY) as writer:
        await writer.write(buffer)
        buffer[:] = b"b" * CHUNK_BYTES
        await writer.write(buffer)

    assert await read(blobs, writer.blob_id) == [b"a" * CHUNK_BYTES, b"b" * CHUNK_BYTES]


async def test_a_blob_lies_in_a_folder_named_after_it_and_is_private(blobs, tmp_path):
    blob_id = (await write(blobs, b"x")).blob_id

    path = blobs.path(blob_id)
    assert files_below(tmp_path) == [path]
    assert path == tmp_path / "blobs" / blob_id[5:7] / blob_id
    assert path.stat().st_mode & 0o777 == 0o600
    assert all(folder.stat().st_mode & 0o777 == 0o700 for folder in list(path.parents)[:2])


@pytest.mark.parametrize("size", [5, CHUNK_BYTES + 5])
async def test_one_byte_too_many_is_refused_and_nothing_is_left(blobs, tmp_path, size):
    assert (await write(blobs, b"x" * size, bytes_max=size)).bytes == size
    before = files_below(tmp_path)

    with pytest.raises(TooLarge, match=str(size)):
        await write(blobs, b"x" * size, b"x", bytes_max=size)

    assert files_below(tmp_path) == before


@pytest.mark.parametrize("chunk", [b"", b"x", b"x" * (2 * CHUNK_BYTES)])
async def test_a_block_that_fails_leaves_nothing(blobs, tmp_path, chunk):
    writer = blobs.writer(bytes_max=ANY)

    async def fail():
        async with writer:
            await writer.write(chunk)
            raise KeyError

    with pytest.raises(KeyError):
        await fail()

    assert files_below(tmp_path) == []
    with pytest.raises(NotFound):
        await blobs.size(writer.blob_id)


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13, 40])
async def test_a_writer_cancelled_at_any_moment_leaves_a_whole_blob_or_nothing(
    blobs, tmp_path, turns
):
    finished = []

    async def upload():
        async with blobs.writer(bytes_max=ANY) as writer:
            for _ in range(6):
                await writer.write(b"x" * CHUNK_BYTES)
        finished.append(writer.blob_id)

    task = asyncio.create_task(upload())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    # What threads still do for the cancelled writer is done when the loop's executor is.
    await asyncio.get_running_loop().shutdown_default_executor()

    assert files_below(tmp_path) == [blobs.path(blob_id) for blob_id in finished]


async def test_many_writers_at_once_do_not_disturb_each_other(blobs):
    contents = [os.urandom(CHUNK_BYTES + i) for i in range(12)]

    writers = await asyncio.gather(*(write(blobs, content) for content in contents))

    for writer, content in zip(writers, contents, strict=True):
        assert b"".join(await read(blobs, writer.blob_id)) == content


async def test_a_deleted_blob_is_gone_and_may_be_deleted_again(blobs, tmp_path):
    blob_id = (await write(blobs, b"x")).blob_id

    await blobs.delete(blob_id)
    await blobs.delete(blob_id)

    assert files_below(tmp_path) == []
    with pytest.raises(NotFound):
        await read(blobs, blob_id)


async def test_a_blob_deleted_while_it_is_read_is_read_to_its_end(blobs):
    blob_id = (await write(blobs, b"x" * (3 * CHUNK_BYTES))).blob_id

    total = 0
    async for piece in blobs.read(blob_id):
        total += len(piece)
        await blobs.delete(blob_id)

    assert total == 3 * CHUNK_BYTES


async def test_a_reader_that_stops_early_leaves_no_open_file(blobs):
    blob_id = (await write(blobs, b"x" * (3 * CHUNK_BYTES))).blob_id
    before = len(os.listdir("/proc/self/fd"))

    reader = blobs.read(blob_id)
    await anext(reader)
    await reader.aclose()

    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    "blob_id",
    [
        "",
        "blob_",
        "../../etc/passwd",
        "blob_../../../../etc/passwd",
        "/etc/passwd",
        "blob_" + "g" * 32,
        "blob_" + "A" * 32,
        "blob_" + "a" * 31,
        "blob_" + "a" * 32 + "\n",
        "blob_" + "a" * 30 + "/.",
        "blob_" + "a" * 31 + "\0",
    ],
)
async def test_nothing_but_the_id_of_a_blob_gets_near_a_path(blobs, blob_id):
    with pytest.raises(NotFound):
        blobs.path(blob_id)
    with pytest.raises(NotFound):
        await read(blobs, blob_id)
    with pytest.raises(NotFound):
        await blobs.size(blob_id)
    with pytest.raises(NotFound):
        await blobs.delete(blob_id)


async def test_opening_sweeps_what_a_killed_writer_left(tmp_path):
    blobs = Blobs(tmp_path / "blobs")
    kept = (await write(blobs, b"x")).blob_id
    leftover = tmp_path / "blobs" / "tmp" / new_id("blob")
    leftover.write_bytes(b"half")

    again = Blobs(tmp_path / "blobs")

    assert files_below(tmp_path) == [again.path(kept)]


async def test_opening_does_not_sweep_what_is_being_written(tmp_path):
    blobs = Blobs(tmp_path / "blobs")
    async with blobs.writer(bytes_max=ANY) as writer:
        await writer.write(b"x" * CHUNK_BYTES)
        Blobs(tmp_path / "blobs")

    assert await read(blobs, writer.blob_id) == [b"x" * CHUNK_BYTES]


async def test_ids_tells_the_blobs_of_before_a_moment(blobs):
    old, new = (await write(blobs, b"x")).blob_id, (await write(blobs, b"x")).blob_id
    os.utime(blobs.path(old), (100, 100))

    assert blobs.ids(written_before=101) == [old]
    assert sorted(blobs.ids(written_before=1e12)) == sorted([old, new])


def test_a_folder_that_cannot_be_made_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(SetupError, match="Give a data folder that this user may write to"):
        Blobs(tmp_path / "file" / "blobs")


FILL_THE_DISK = """
    import asyncio, pathlib, sys
    from sanderling.errors import SanderlingError
    from sanderling.store.blobs import Blobs

    async def main():
        blobs = Blobs(pathlib.Path(sys.argv[1]))
        try:
            async with blobs.writer(bytes_max=1 << 30) as writer:
                for _ in range(64):
                    await writer.write(b"x" * (1 << 20))
        except SanderlingError as error:
            print(error.message)
        print([p for p in pathlib.Path(sys.argv[1]).rglob("*") if p.is_file()])
        async with blobs.writer(bytes_max=1 << 30) as writer:
            await writer.write(b"small")
        print(await blobs.size(writer.blob_id))

    asyncio.run(main())
"""


def test_a_full_disk_is_said_plainly_and_leaves_room_again(tmp_path):
    script = 'mount -t tmpfs -o size=8m none "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    command += [str(tmp_path), sys.executable, textwrap.dedent(FILL_THE_DISK)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unshare failed" in ran.stderr or "mount" in ran.stderr:
        pytest.skip(f"no file system of 8 MiB can be mounted here: {ran.stderr.strip()}")

    assert ran.stderr == ""
    assert ran.stdout.splitlines() == [
        "The disk of the data folder is full; the file was not stored.",
        "[]",
        "5",
    ]
