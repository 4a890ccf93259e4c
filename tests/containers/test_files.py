from __future__ import annotations

import pytest

from sanderling.containers import files
from sanderling.containers.files import Room
from sanderling.containers.registry import Containers
from sanderling.records import ContainerFile
from sanderling.store.store import Store
from tests.containers.makers import ORG, execute
from tests.doubles.fake_clock import FakeClock
from tests.doubles.memory_sandbox import MemorySandbox


def file(path: str, size: int) -> ContainerFile:
    return ContainerFile("cfile_a", "cntr_a", path, size, 0.0, "assistant", "blob_a")


def test_files_share_the_room_of_their_container():
    room = Room([file("/mnt/data/a", 60)], file_bytes_max=80, container_bytes_max=100)

    assert room.at("/mnt/data/b") == 40
    assert room.at("/mnt/data/a") == 80  # what is there is replaced
    room.count("/mnt/data/b", 40)
    assert (room.at("/mnt/data/c"), room.at("/mnt/data/b")) == (0, 40)
    room.count("/mnt/data/a", 10)
    assert room.at("/mnt/data/c") == 50
    room.leave("/mnt/data/a")
    assert room.at("/mnt/data/c") == 60


def test_a_container_that_has_more_than_its_room_takes_nothing_new():
    room = Room([file("/mnt/data/a", 200)], file_bytes_max=80, container_bytes_max=100)

    assert room.at("/mnt/data/b") == 0


async def test_what_code_says_it_made_is_kept_only_up_to_what_a_box_holds(
    store: Store, sandbox: MemorySandbox, clock: FakeClock
):
    containers = Containers(store, sandbox, clock, container_bytes_max=250)
    container = await containers.create(ORG, name="x")
    code = (
        "from pathlib import Path\n"
        "for i in range(30): Path(f'/mnt/data/{i:02}').write_text('x' * 100)"
    )

    made = await execute(containers, container, code)
    more = await execute(containers, container, "import os\nos.unlink('/mnt/data/00')")
    again = await execute(containers, container, "Path('/mnt/data/a').write_text('x' * 100)")
    await containers.close()

    assert [a.filename for a in made.artifacts] == ["00", "01"]
    assert made.notice is not None
    assert made.notice.startswith("Too large to be downloaded: /mnt/data/02, /mnt/data/03,")
    assert made.notice.endswith("/mnt/data/11 and 18 more.")
    assert [(a.filename, a.change) for a in more.artifacts] == [("00", "deleted")]
    assert [a.filename for a in again.artifacts if a.change != "deleted"] == ["a"]


async def test_empty_files_have_an_end_too(
    store: Store, sandbox: MemorySandbox, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(files, "FILES_PER_CONTAINER_MAX", 3)
    containers = Containers(store, sandbox, clock)
    container = await containers.create(ORG, name="x")

    made = await execute(containers, container, "for i in range(5): save(f'{i}', '')")
    again = await execute(
        containers, container, "import os\nos.unlink('/mnt/data/0'); save('a', '')"
    )
    await containers.close()

    assert [a.filename for a in made.artifacts] == ["0", "1", "2"]
    assert made.notice is not None
    assert made.notice.startswith("2 files cannot be downloaded: ")
    assert [a.filename for a in again.artifacts if a.change != "deleted"] == ["a"]


async def test_pictures_take_room_like_other_files(
    store: Store, sandbox: MemorySandbox, clock: FakeClock
):
    containers = Containers(store, sandbox, clock, container_bytes_max=2)
    container = await containers.create(ORG, name="x")

    made = await execute(containers, container, "show(b'PNG')")
    await containers.close()

    assert made.artifacts == ()
    assert (
        made.notice == "The container is full of files: a picture that was shown could not be kept."
    )
