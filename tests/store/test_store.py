from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys

import pytest

from sanderling.errors import NotFound, SetupError
from sanderling.store.store import Store
from tests.store.makers import (
    make_container,
    make_container_file,
    make_file,
    make_upload,
    make_upload_part,
)


async def write(store, content=b"bytes"):
    async with store.blobs.writer(bytes_max=1000) as writer:
        await writer.write(content)
    return writer.blob_id


async def is_there(store, blob_id):
    try:
        await store.blobs.size(blob_id)
    except NotFound:
        return False
    return True


async def test_what_was_stored_is_there_after_opening_again(tmp_path):
    store = await Store.open(tmp_path / "new" / "data")
    blob_id = await write(store)
    file = make_file(blob_id=blob_id)
    await store.files.insert(file)
    await store.close()

    again = await Store.open(tmp_path / "new" / "data")

    assert await again.files.get("org_a", file.id) == file
    assert [piece async for piece in again.blobs.read(blob_id)] == [b"bytes"]
    await again.close()


async def test_the_data_folder_is_its_owners_alone(tmp_path):
    store = await Store.open(tmp_path / "data", sole=True)
    await store.close()

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert modes == {"sanderling.db": 0o600, "blobs": 0o700, "lock": 0o600}


async def test_a_blob_is_deleted_with_the_last_record_that_refers_to_it(store):
    blob_id = await write(store)
    file = make_file(blob_id=blob_id)
    container = make_container()
    copy = make_container_file(container.id, blob_id=blob_id)
    await store.files.insert(file)
    await store.containers.insert(container)
    await store.container_files.upsert(copy)

    await store.release_blob(blob_id)
    assert await is_there(store, blob_id)

    await store.files.delete("org_a", file.id)
    await store.release_blob(blob_id)
    assert await is_there(store, blob_id)

    await store.container_files.delete(container.id, copy.id)
    await store.release_blob(blob_id)
    assert not await is_there(store, blob_id)
    await store.release_blob(blob_id)


async def test_sweeping_deletes_old_blobs_that_nothing_refers_to(store, clock):
    clock.at = 10_000.0
    kept, orphan, fresh = [await write(store) for _ in range(3)]
    await store.files.insert(make_file(blob_id=kept))
    for blob_id, at in ((kept, 100), (orphan, 100), (fresh, 9_000)):
        os.utime(store.blobs.path(blob_id), (at, at))

    assert await store.sweep_blobs() == 1

    there = [await is_there(store, blob_id) for blob_id in (kept, orphan, fresh)]
    assert there == [True, False, True]


async def test_files_whose_time_is_over_are_forgotten_with_their_bytes(store, clock):
    due = make_file(blob_id=await write(store), expires_at=clock.now() + 60)
    later = make_file(blob_id=await write(store), expires_at=clock.now() + 3600)
    for file in (due, later):
        await store.files.insert(file)
    clock.at += 60

    assert await store.forget_expired_files() == 1
    assert not await is_there(store, due.blob_id)
    assert await is_there(store, later.blob_id)
    assert await store.files.get(due.organization_id, due.id) is None
    assert await store.forget_expired_files() == 0


async def test_two_servers_never_work_on_one_folder(tmp_path):
    first = await Store.open(tmp_path, sole=True)

    with pytest.raises(SetupError, match=f"process {os.getpid()}.*Stop it, or give another"):
        await Store.open(tmp_path, sole=True)

    await first.close()
    again = await Store.open(tmp_path, sole=True)
    await again.close()


async def test_a_command_may_look_in_while_a_server_works(tmp_path):
    server = await Store.open(tmp_path, sole=True)
    command = await Store.open(tmp_path)
    file = make_file()
    await command.files.insert(file)
    await command.close()

    assert await server.files.get("org_a", file.id) == file
    await server.close()


async def test_a_folder_is_free_again_when_its_server_was_killed(tmp_path):
    program = """
import asyncio, os, pathlib, signal, sys
from sanderling.store.store import Store

async def main():
    store = await Store.open(pathlib.Path(sys.argv[1]), sole=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    ran = await asyncio.to_thread(subprocess.run, command, check=False)
    assert ran.returncode == -9

    await (await Store.open(tmp_path, sole=True)).close()


async def test_a_refused_folder_is_not_held(tmp_path):
    (tmp_path / "sanderling.db").write_bytes(b"not a database, by far" * 500)
    with pytest.raises(SetupError):
        await Store.open(tmp_path, sole=True)

    (tmp_path / "sanderling.db").unlink()
    await (await Store.open(tmp_path, sole=True)).close()


@pytest.mark.parametrize("where", ["file", "file/below"])
async def test_a_folder_that_cannot_be_made_says_what_to_do(tmp_path, where):
    (tmp_path / "file").write_text("")

    with pytest.raises(SetupError, match="Give a folder that this user may write to"):
        await Store.open(tmp_path / where)


async def test_opening_again_and_again_leaves_no_open_file(tmp_path):
    await (await Store.open(tmp_path, sole=True)).close()
    before = len(os.listdir("/proc/self/fd"))

    for _ in range(20):
        await (await Store.open(tmp_path, sole=True)).close()

    assert len(os.listdir("/proc/self/fd")) == before


async def test_parts_keep_their_bytes_until_their_upload_is_over(store, clock):
    upload = make_upload(expires_at=clock.now() + 3600)
    part = make_upload_part(upload.id, blob_id=await write(store))
    assert await store.uploads.insert(upload, pending_max=1)
    assert await store.uploads.add_part(part, parts_max=1, bytes_max=part.bytes) == "added"
    assert await store.uploads.parts(upload.id) == {part.id: part}

    await store.release_blob(part.blob_id)
    assert await is_there(store, part.blob_id)

    await store.release_blob(*(await store.uploads.cancel(upload.id)))
    assert not await is_there(store, part.blob_id)
    assert await store.uploads.parts(upload.id) == {}


async def test_at_its_start_the_one_server_of_a_folder_sweeps_what_is_young_too(tmp_path):
    store = await Store.open(tmp_path, sole=True)
    orphan = await write(store)  # and here it was killed, before a row named it
    await store.close()

    again = await Store.open(tmp_path, sole=True)
    opened_at = again.blobs.path(orphan).stat().st_mtime + 1
    assert await again.sweep_blobs() == 0
    assert await again.sweep_blobs(written_before=opened_at) == 1
    assert not await is_there(again, orphan)
    await again.close()
