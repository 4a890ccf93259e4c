from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sanderling.containers import retention
from sanderling.containers.registry import Containers
from sanderling.errors import NotFound, StorageFull
from sanderling.records import Container
from sanderling.store.store import Store
from tests.containers.makers import ORG, content, execute, make_stored_file, names
from tests.doubles.fake_clock import FakeClock
from tests.doubles.memory_sandbox import MemorySandbox

DAY = 24 * 60
KEPT_DAYS = 7


def blobs(store: Store) -> set[str]:
    return set(store.blobs.ids(written_before=float("inf")))


async def expired(
    containers: Containers, store: Store, clock: FakeClock
) -> tuple[Container, set[str]]:
    """A container that expired with a file of its owner's and one its code made; all blobs."""
    given = await make_stored_file(store, b"given", filename="given.csv")
    container = await containers.create(ORG, name="x", file_ids=[given.id])
    await execute(containers, container, "save('made.txt', 'made')")
    before = blobs(store)
    await store.files.delete(ORG, given.id)  # only the container refers to it now
    clock.advance(minutes=21)
    await containers.expire_idle()
    return container, before


async def test_expired_container_keeps_what_code_made_for_its_time_and_nothing_else(
    containers: Containers, store: Store, clock: FakeClock
) -> None:
    container, before = await expired(containers, store, clock)

    assert await names(containers, container) == ["made.txt"]
    assert len(blobs(store)) == len(before) - 1
    clock.advance(minutes=KEPT_DAYS * DAY - 3)
    assert await containers.discard_due() == 0
    assert await content(containers, container, "/mnt/data/made.txt") == b"made"
    clock.advance(minutes=3)
    assert await containers.discard_due() == 1
    assert await names(containers, container) == []
    assert blobs(store) == set()
    assert (await containers.retrieve(ORG, container.id)).status == "expired"


async def test_nothing_of_a_running_container_is_ever_due(
    containers: Containers, store: Store, clock: FakeClock
) -> None:
    given = await make_stored_file(store)
    container = await containers.create(
        ORG, name="x", file_ids=[given.id], expires_after_minutes=30 * DAY
    )
    await execute(containers, container, "save('made.txt', 'made')")
    clock.advance(minutes=29 * DAY)

    assert await containers.discard_due() == 0
    assert await names(containers, container) == ["made.txt", "sales.csv"]


async def test_bytes_that_others_refer_to_stay(
    containers: Containers, store: Store, clock: FakeClock
) -> None:
    given = await make_stored_file(store, b"shared")
    first = await containers.create(ORG, name="x", file_ids=[given.id], expires_after_minutes=1)
    second = await containers.create(ORG, name="x", file_ids=[given.id, given.id])
    clock.advance(minutes=2)
    assert await containers.expire_idle() == 1
    await store.files.delete(ORG, given.id)
    await store.release_blob(given.blob_id)

    assert await names(containers, first) == []
    assert await content(containers, second, "/mnt/data/sales.csv") == b"shared"
    await containers.delete(ORG, second.id)
    assert blobs(store) == set()


async def test_bytes_that_went_meanwhile_are_never_referred_to(
    containers: Containers, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = await make_stored_file(store, b"going")
    container = await containers.create(ORG, name="x")
    free_path = containers._files.free_path

    async def then_it_goes(*args: Any, **kwargs: Any) -> str:
        await store.files.delete(ORG, given.id)
        await store.release_blob(given.blob_id)
        return await free_path(*args, **kwargs)

    monkeypatch.setattr(containers._files, "free_path", then_it_goes)
    with pytest.raises(NotFound):
        await containers.add_stored_file(ORG, container.id, given.id)

    assert await names(containers, container) == []


@pytest.mark.parametrize("how", ["expired", "deleted"])
async def test_sweep_that_was_cut_off_is_finished_by_the_next(
    containers: Containers,
    store: Store,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    monkeypatch.setattr(retention, "_BATCH", 3)
    container = await containers.create(ORG, name="x")
    await execute(containers, container, "for n in range(10): save(f'{n}.txt', str(n))")
    delete = store.container_files.delete
    deleted = 0

    async def dies_at_the_fifth(*args: Any) -> Any:
        nonlocal deleted
        deleted += 1
        if deleted == 5:
            raise StorageFull
        return await delete(*args)

    monkeypatch.setattr(store.container_files, "delete", dies_at_the_fifth)
    if how == "expired":
        clock.advance(minutes=(KEPT_DAYS + 1) * DAY)
        assert await containers.expire_idle() == 1
    else:
        await containers.delete(ORG, container.id)
    assert len(blobs(store)) == 6

    assert await containers.discard_due() == 6
    assert blobs(store) == set()


async def test_container_whose_time_passed_while_the_server_was_down_is_over(
    tmp_path: Path, clock: FakeClock, sandbox: MemorySandbox
) -> None:
    store = await Store.open(tmp_path / "data", clock=clock)
    containers = Containers(store, sandbox, clock)
    container = await containers.create(ORG, name="x")
    await execute(containers, container, "save('made.txt', 'made')")
    await containers.close()
    await store.close()
    clock.advance(minutes=25)
    store = await Store.open(tmp_path / "data", clock=clock)
    containers = Containers(store, sandbox, clock)

    assert await sandbox.containers() == [container.id]
    assert await containers.expire_idle() == 1
    assert await sandbox.containers() == []
    assert (await containers.retrieve(ORG, container.id)).status == "expired"
    await containers.close()
    await store.close()


async def test_box_of_a_container_that_is_over_is_ended_when_it_is_found(
    containers: Containers, store: Store, sandbox: MemorySandbox, clock: FakeClock
) -> None:
    over = await containers.create(ORG, name="x")
    await execute(containers, over, "1")
    going = await containers.create(ORG, name="x")
    await execute(containers, going, "x = 1")
    await store.containers.set_status(over.id, "deleted")  # and then its server was killed
    restarted = Containers(store, sandbox, clock)

    assert await restarted.close_strays() == 1
    assert await sandbox.containers() == [going.id]
    assert (await execute(restarted, going, "x")).status == "ok"
    assert await restarted.close_strays() == 0
    await restarted.close()
