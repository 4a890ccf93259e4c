"""What becomes of code, and of what it made, when the server's disk is full."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from sanderling.containers.registry import Containers
from sanderling.records import LogsOutput
from sanderling.store import blobs
from sanderling.store.store import Store
from tests.containers.makers import ORG, content, execute, names, until
from tests.doubles.fake_clock import FakeClock
from tests.doubles.memory_sandbox import MemorySandbox


class Disk:
    """Lets no blob be completed while it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = False
        self.room = 0  # how many more blobs fit
        fsync = os.fsync

        def full_or(descriptor: int) -> None:
            if self.is_full:
                if self.room == 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                self.room -= 1
            fsync(descriptor)

        monkeypatch.setattr(blobs.os, "fsync", full_or)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


async def test_files_missed_for_want_of_room_are_kept_by_a_later_execution(
    containers: Containers, store: Store, disk: Disk, tmp_path: Path
) -> None:
    container = await containers.create(ORG, name="x")
    await execute(containers, container, "save('old.txt', 'old')")
    disk.is_full = True

    full = await execute(
        containers, container, "save('a.txt', 'A'); save('b.txt', 'B'); save('old.txt', 'new'); 7"
    )

    assert (full.status, full.artifacts) == ("ok", ())
    assert full.notice is not None
    assert full.notice.startswith("The server's disk is full: some files")
    assert full.outputs[-1] == LogsOutput("stderr", full.notice + "\n")
    assert await names(containers, container) == ["old.txt"]
    assert await content(containers, container, "/mnt/data/old.txt") == b"old"
    assert list((tmp_path / "blobs" / "tmp").iterdir()) == []

    disk.is_full = False
    after = await execute(containers, container, "save('c.txt', 'C')")

    assert after.notice is None
    assert sorted(artifact.filename for artifact in after.artifacts) == [
        "a.txt", "b.txt", "c.txt", "old.txt"
    ]  # fmt: skip
    assert await content(containers, container, "/mnt/data/old.txt") == b"new"
    assert (await execute(containers, container, "1")).artifacts == ()


async def test_what_was_kept_before_the_disk_was_full_is_an_artifact(
    containers: Containers, disk: Disk
) -> None:
    container = await containers.create(ORG, name="x")
    disk.is_full, disk.room = True, 2

    full = await execute(containers, container, "for n in 'abcd': save(n, n)")

    assert len(full.artifacts) < 4
    assert sorted(artifact.filename for artifact in full.artifacts) == await names(
        containers, container
    )
    disk.is_full = False
    await execute(containers, container, "1")
    assert await names(containers, container) == ["a", "b", "c", "d"]


async def test_missed_file_that_is_gone_by_then_is_not_kept(
    containers: Containers, disk: Disk
) -> None:
    container = await containers.create(ORG, name="x")
    disk.is_full = True
    await execute(containers, container, "save('a.txt', 'A')")
    disk.is_full = False

    after = await execute(
        containers, container, f"import os; os.remove('{box_folder(containers)}/a.txt')"
    )

    assert (after.status, after.artifacts) == ("ok", ())
    assert await names(containers, container) == []


def box_folder(containers: Containers) -> str:
    sandbox: Any = containers._sandbox
    [box] = sandbox._boxes.values()
    return str(box.folder)


async def test_picture_that_cannot_be_kept_is_told_and_the_code_goes_on(
    containers: Containers, disk: Disk
) -> None:
    container = await containers.create(ORG, name="x")
    disk.is_full = True

    full = await execute(containers, container, "show(b'png'); show(b'png'); print('on', end='')")

    assert full.status == "ok"
    assert full.outputs[0] == LogsOutput("stdout", "on")
    assert full.notice == "The server's disk is full: a picture that was shown could not be kept."


async def test_files_a_killed_server_did_not_collect_are_kept_by_the_next(
    containers: Containers, store: Store, sandbox: MemorySandbox, clock: FakeClock
) -> None:
    container = await containers.create(ORG, name="x")
    await execute(containers, container, "save('known.txt', 'k')")
    await sandboxed(sandbox, container.id, "save('late.txt', 'late'); save('known.txt', 'kk')")
    restarted = Containers(store, sandbox, clock)

    after = await execute(restarted, container, "1")

    assert sorted(artifact.filename for artifact in after.artifacts) == ["known.txt", "late.txt"]
    assert await content(restarted, container, "/mnt/data/known.txt") == b"kk"
    await restarted.close()


async def test_file_a_killed_server_missed_is_kept_by_the_next_though_its_size_is_the_same(
    containers: Containers, store: Store, sandbox: MemorySandbox, clock: FakeClock
) -> None:
    container = await containers.create(ORG, name="x")
    await execute(containers, container, "save('a.txt', 'old'); save('b.txt', 'same')")
    await sandboxed(sandbox, container.id, "save('a.txt', 'new')")
    restarted = Containers(store, sandbox, clock)

    after = await execute(restarted, container, "1")

    assert [artifact.filename for artifact in after.artifacts] == ["a.txt"]
    assert await content(restarted, container, "/mnt/data/a.txt") == b"new"
    assert (await execute(restarted, container, "1")).artifacts == ()
    await restarted.close()


async def test_file_that_a_killed_servers_cell_makes_when_the_next_is_there_is_kept(
    containers: Containers, store: Store, sandbox: MemorySandbox, clock: FakeClock
) -> None:
    container = await containers.create(ORG, name="x")
    await execute(containers, container, "import asyncio; go = asyncio.Event()")
    dead = asyncio.create_task(
        sandboxed(sandbox, container.id, "await go.wait(); save('late.txt', 'late')")
    )
    restarted = Containers(store, sandbox, clock)
    next_one = asyncio.create_task(execute(restarted, container, "1"))

    async def is_in_line() -> bool:
        return [call[0] for call in sandbox.calls].count("execute") == 3

    await until(is_in_line)
    sandbox.variables(container.id)["go"].set()
    after = await next_one

    assert [artifact.filename for artifact in after.artifacts] == ["late.txt"]
    await dead
    await restarted.close()


async def sandboxed(sandbox: MemorySandbox, container_id: str, code: str) -> None:
    """Run code whose outcome no server records."""
    async for _ in sandbox.execute(container_id, "exec_dead", code, timeout_s=9):
        pass
