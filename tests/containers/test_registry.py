from __future__ import annotations

import pytest

from sanderling.containers.registry import Containers
from sanderling.errors import Expired, HostUnavailable, InvalidRequest, NotFound, TooLarge
from sanderling.records import Container
from sanderling.store.paging import Page
from sanderling.store.store import Store
from tests.containers.makers import (
    ORG,
    content,
    everything,
    execute,
    make_blob,
    make_stored_file,
    names,
    until,
    until_output,
)
from tests.doubles.fake_clock import FakeClock
from tests.doubles.memory_sandbox import MemorySandbox


async def test_new_container_has_what_was_asked_for(
    containers: Containers, clock: FakeClock
) -> None:
    container = await containers.create(
        ORG, name="analysis", memory_limit="4g", expires_after_minutes=5
    )

    assert container == Container(
        id=container.id,
        organization_id=ORG,
        name="analysis",
        status="running",
        memory_limit="4g",
        created_at=clock.at,
        last_active_at=clock.at,
        expires_after_minutes=5,
    )
    assert await containers.get(ORG, container.id) == container


async def test_container_expires_after_the_operators_idle_time_unless_asked_otherwise(
    store: Store, sandbox: MemorySandbox, clock: FakeClock
) -> None:
    containers = Containers(store, sandbox, clock, idle_minutes=7)

    assert (await containers.create(ORG, name="x")).expires_after_minutes == 7


async def test_memory_tier_above_the_machine_is_refused_by_name(containers: Containers) -> None:
    with pytest.raises(InvalidRequest, match=r"'16g'.*at most 4.0 GiB.*'1g', '4g'") as refused:
        await containers.create(ORG, name="big", memory_limit="16g")

    assert refused.value.param == "memory_limit"
    assert (await containers.page(ORG, Page())).data == []


async def test_container_is_created_with_stored_files_under_their_own_names(
    containers: Containers, store: Store
) -> None:
    first = await make_stored_file(store, b"1", filename="sales.csv")
    second = await make_stored_file(store, b"2", filename="sales.csv")

    container = await containers.create(ORG, name="x", file_ids=[first.id, second.id])

    assert await names(containers, container) == ["sales.csv", "sales_1.csv"]
    assert await content(containers, container, "/mnt/data/sales_1.csv") == b"2"


async def test_container_is_not_created_with_a_file_that_is_not_there(
    containers: Containers, store: Store
) -> None:
    with pytest.raises(NotFound, match="No such File object: file-none"):
        await containers.create(ORG, name="x", file_ids=["file-none"])

    assert (await containers.page(ORG, Page())).data == []


async def test_no_box_is_made_before_code_runs(
    containers: Containers, sandbox: MemorySandbox, store: Store
) -> None:
    file = await make_stored_file(store)

    await containers.create(ORG, name="x", file_ids=[file.id])

    assert (await sandbox.status()).boxes == 0


async def test_foreign_container_is_absent(containers: Containers) -> None:
    container = await containers.create(ORG, name="x")
    foreign = "org_b"

    for attempt in (
        containers.get(foreign, container.id),
        containers.retrieve(foreign, container.id),
        containers.delete(foreign, container.id),
        containers.files_page(foreign, container.id, Page()),
        containers.interrupt(foreign, container.id, "exec_1"),
    ):
        with pytest.raises(NotFound, match=f"Container with id '{container.id}' not found."):
            await attempt


async def test_deleted_container_is_absent_and_its_bytes_are_gone(
    containers: Containers, sandbox: MemorySandbox, store: Store
) -> None:
    container = await containers.create(ORG, name="x")
    await execute(containers, container, "save('a.txt', 'hello')")
    [file] = await containers.all_files(container.id)

    await containers.delete(ORG, container.id)

    with pytest.raises(NotFound):
        await containers.get(ORG, container.id)
    with pytest.raises(NotFound):
        await store.blobs.size(file.blob_id)
    assert (await sandbox.status()).boxes == 0


async def test_nothing_is_kept_of_what_reaches_a_container_while_it_is_deleted(
    containers: Containers, store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = await containers.create(ORG, name="x")
    file = await make_stored_file(store, b"late")

    async def delete_instead(container_id: str, _at: float) -> bool:
        await containers.delete(ORG, container_id)
        return False

    monkeypatch.setattr(store.containers, "touch", delete_instead)
    clock.advance(minutes=1)
    with pytest.raises(NotFound):  # it was there when the request was looked at
        await containers.add_blob(
            ORG, container.id, filename="late.txt", blob_id=file.blob_id, bytes=file.bytes
        )

    assert await containers.all_files(container.id) == []


async def test_expired_file_is_not_put_into_a_container(
    containers: Containers, store: Store, clock: FakeClock
) -> None:
    file = await make_stored_file(store, b"old", expires_at=clock.now() + 60)
    clock.advance(minutes=1)

    with pytest.raises(NotFound, match="No such File object"):
        await containers.create(ORG, name="x", file_ids=[file.id])


async def test_deleting_a_container_leaves_the_stored_file_it_was_given(
    containers: Containers, store: Store
) -> None:
    file = await make_stored_file(store, b"kept")
    container = await containers.create(ORG, name="x", file_ids=[file.id])

    await containers.delete(ORG, container.id)

    assert await store.blobs.size(file.blob_id) == 4


# ---- time --------------------------------------------------------------------------------------


async def test_idle_container_expires_at_its_deadline_and_its_box_is_closed(
    containers: Containers, sandbox: MemorySandbox, clock: FakeClock
) -> None:
    container = await containers.create(ORG, name="x", expires_after_minutes=20)
    await execute(containers, container, "1")
    clock.advance(minutes=20)

    assert await containers.expire_idle() == 1
    assert (await sandbox.status()).boxes == 0
    with pytest.raises(Expired, match=r"^Container is expired\.$"):
        await containers.get(ORG, container.id)
    assert (await containers.retrieve(ORG, container.id)).status == "expired"


async def test_overdue_container_is_refused_before_any_sweep(
    containers: Containers, clock: FakeClock
) -> None:
    container = await containers.create(ORG, name="x", expires_after_minutes=20)
    clock.advance(minutes=20)

    with pytest.raises(Expired):
        await execute(containers, container, "1")
    assert (await containers.retrieve(ORG, container.id)).status == "expired"


@pytest.mark.parametrize("use", ["retrieve", "get", "add", "delete_file", "execute"])
async def test_use_pushes_the_deadline_back(
    containers: Containers, store: Store, clock: FakeClock, use: str
) -> None:
    container = await containers.create(ORG, name="x", expires_after_minutes=20)
    file = await make_stored_file(store)
    mounted = await containers.add_stored_file(ORG, container.id, file.id)
    clock.advance(minutes=19)

    match use:
        case "retrieve":
            await containers.retrieve(ORG, container.id)
        case "get":
            await containers.get(ORG, container.id)
        case "add":
            await containers.add_stored_file(ORG, container.id, file.id)
        case "delete_file":
            await containers.delete_file(ORG, container.id, mounted.id)
        case "execute":
            await execute(containers, container, "1")
    clock.advance(minutes=19)

    assert (await containers.retrieve(ORG, container.id)).status == "running"


@pytest.mark.parametrize("look", ["page", "files_page", "get_file"])
async def test_looking_does_not_push_the_deadline_back(
    containers: Containers, store: Store, clock: FakeClock, look: str
) -> None:
    container = await containers.create(ORG, name="x", expires_after_minutes=20)
    file = await make_stored_file(store)
    mounted = await containers.add_stored_file(ORG, container.id, file.id)
    clock.advance(minutes=19)

    match look:
        case "page":
            await containers.page(ORG, Page())
        case "files_page":
            await containers.files_page(ORG, container.id, Page())
        case "get_file":
            await containers.get_file(ORG, container.id, mounted.id)
    clock.advance(minutes=1)

    assert (await containers.retrieve(ORG, container.id)).status == "expired"


async def test_container_never_expires_while_code_runs_in_it(
    containers: Containers, clock: FakeClock
) -> None:
    container = await containers.create(ORG, name="x", expires_after_minutes=20)
    happenings = containers.execute(
        container,
        "import asyncio; print('on', end=''); await asyncio.sleep(60)",
        execution_id="exec_1",
        timeout_s=60,
    )
    await until_output(happenings)
    clock.advance(minutes=30)

    assert await containers.expire_idle() == 0
    assert (await containers.get(ORG, container.id)).status == "running"

    assert await containers.interrupt(ORG, container.id, "exec_1")
    [execution] = [happening async for happening in happenings]
    clock.advance(minutes=19)
    assert (await containers.retrieve(ORG, container.id)).status == "running"
    assert execution.status == "interrupted"  # type: ignore[union-attr]


async def test_files_of_an_expired_container_can_still_be_read_but_not_listed(
    containers: Containers, clock: FakeClock
) -> None:
    container = await containers.create(ORG, name="x")
    execution = await execute(containers, container, "save('a.txt', 'hello')")
    clock.advance(minutes=30)
    await containers.expire_idle()

    file = await containers.get_file(ORG, container.id, execution.artifacts[0].file_id)

    assert b"".join([chunk async for chunk in containers.read(file)]) == b"hello"
    with pytest.raises(Expired):
        await containers.files_page(ORG, container.id, Page())
    with pytest.raises(Expired):
        await containers.delete_file(ORG, container.id, file.id)


# ---- files -------------------------------------------------------------------------------------


async def test_files_are_in_the_box_when_code_first_runs(
    containers: Containers, store: Store
) -> None:
    file = await make_stored_file(store, b"x,y\n1,2\n", filename="sales.csv")
    container = await containers.create(ORG, name="x", file_ids=[file.id])

    execution = await execute(containers, container, "load('/mnt/data/sales.csv')")

    assert execution.outputs[0].text == "'x,y\\n1,2\\n'"  # type: ignore[union-attr]
    assert execution.artifacts == ()


async def test_file_added_while_a_box_stands_is_written_into_it_at_once(
    containers: Containers, sandbox: MemorySandbox, store: Store
) -> None:
    container = await containers.create(ORG, name="x")
    await execute(containers, container, "1")

    await containers.add_blob(
        ORG,
        container.id,
        filename="late.txt",
        blob_id=await make_blob(store, b"late"),
        bytes=4,
    )

    assert sandbox.content(container.id, "/mnt/data/late.txt") == b"late"


async def test_file_deleted_while_a_box_stands_is_removed_from_it_at_once(
    containers: Containers, sandbox: MemorySandbox
) -> None:
    container = await containers.create(ORG, name="x")
    execution = await execute(containers, container, "save('a.txt', 'hello')")

    await containers.delete_file(ORG, container.id, execution.artifacts[0].file_id)

    assert sandbox.paths(container.id) == []
    with pytest.raises(NotFound, match="File with id"):
        await containers.get_file(ORG, container.id, execution.artifacts[0].file_id)


async def test_file_that_does_not_fit_into_the_box_is_refused_and_not_recorded(
    containers: Containers, sandbox: MemorySandbox, store: Store
) -> None:
    container = await containers.create(ORG, name="x")
    await execute(containers, container, "1")
    sandbox.room_bytes = 2

    with pytest.raises(TooLarge):
        await containers.add_blob(
            ORG,
            container.id,
            filename="big.txt",
            blob_id=await make_blob(store, b"big"),
            bytes=3,
        )

    assert await names(containers, container) == []


async def test_added_file_gets_a_safe_and_free_name(containers: Containers, store: Store) -> None:
    container = await containers.create(ORG, name="x")
    blob_id = await make_blob(store, b"1")

    added = [
        await containers.add_blob(
            ORG, container.id, filename="../../a.csv", blob_id=blob_id, bytes=1
        )
        for _ in range(2)
    ]

    assert [file.path for file in added] == ["/mnt/data/a.csv", "/mnt/data/a_1.csv"]
    assert {file.source for file in added} == {"user"}


async def test_unknown_stored_file_cannot_be_added(containers: Containers) -> None:
    container = await containers.create(ORG, name="x")

    with pytest.raises(NotFound, match="No such File object: file-none") as refused:
        await containers.add_stored_file(ORG, container.id, "file-none")

    assert refused.value.param == "file_id"


# ---- code --------------------------------------------------------------------------------------


async def test_leaving_the_iterator_neither_stops_the_cell_nor_loses_its_files(
    containers: Containers, sandbox: MemorySandbox
) -> None:
    container = await containers.create(ORG, name="x")
    happenings = containers.execute(
        container,
        "import asyncio; print('on', end=''); await asyncio.sleep(0.01); save('a.txt', 'made')",
        execution_id="exec_1",
        timeout_s=60,
    )
    await until_output(happenings)
    await happenings.aclose()  # type: ignore[attr-defined]

    async def is_collected() -> bool:
        return await names(containers, container) == ["a.txt"]

    await until(is_collected)


async def test_interrupt_stops_the_cell_and_the_variables_stay(containers: Containers) -> None:
    container = await containers.create(ORG, name="x")
    happenings = containers.execute(
        container,
        "x = 41\nimport asyncio; print('on', end=''); await asyncio.sleep(60)",
        execution_id="exec_1",
        timeout_s=60,
    )
    await until_output(happenings)

    assert await containers.interrupt(ORG, container.id, "exec_1")
    [execution] = [happening async for happening in happenings]

    assert execution.status == "interrupted"  # type: ignore[union-attr]
    [result, _] = await everything(containers, container, "x + 1")
    assert result.output.text == "42"  # type: ignore[union-attr]


async def test_there_is_nothing_to_interrupt_without_a_box(containers: Containers) -> None:
    container = await containers.create(ORG, name="x")

    assert not await containers.interrupt(ORG, container.id, "exec_1")


async def test_prepared_box_stands_before_the_code_comes(
    containers: Containers, sandbox: MemorySandbox
) -> None:
    container = await containers.create(ORG, name="x")

    containers.prepare(container)

    async def is_standing() -> bool:
        return (await sandbox.status()).boxes == 1

    await until(is_standing)


async def test_what_fails_while_preparing_is_told_at_the_execution(
    containers: Containers, sandbox: MemorySandbox
) -> None:
    container = await containers.create(ORG, name="x")
    sandbox.go_down()

    containers.prepare(container)

    with pytest.raises(HostUnavailable):
        await execute(containers, container, "1")


async def test_no_box_is_left_behind_by_a_container_deleted_while_one_is_being_made(
    containers: Containers, sandbox: MemorySandbox
) -> None:
    container = await containers.create(ORG, name="x")

    containers.prepare(container)
    await containers.delete(ORG, container.id)
    await containers.close()

    assert (await sandbox.status()).boxes == 0


async def test_closing_ends_executions_and_whoever_listens_is_told(
    containers: Containers,
) -> None:
    container = await containers.create(ORG, name="x")
    happenings = containers.execute(
        container,
        "import asyncio; print('on', end=''); await asyncio.sleep(60)",
        execution_id="exec_1",
        timeout_s=60,
    )
    await until_output(happenings)

    await containers.close()

    with pytest.raises(HostUnavailable, match="shutting down"):
        await anext(happenings)
