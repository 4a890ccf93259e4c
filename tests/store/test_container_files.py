from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy.exc import IntegrityError

from sanderling.store.container_files import ContainerFileTable
from sanderling.store.paging import Page
from tests.store.makers import make_container, make_container_file


@pytest.fixture(autouse=True)
def _rows_alone(store):
    """No bytes stand behind the rows of these tests."""
    store.container_files = ContainerFileTable(store.database)


@pytest.fixture
async def container(store):
    container = make_container()
    await store.containers.insert(container)
    return container


async def test_a_file_comes_back_as_it_was_recorded(store, container):
    file = make_container_file(container.id)

    assert await store.container_files.upsert(file) == file
    assert await store.container_files.get(container.id, file.id) == file
    assert await store.container_files.by_path(container.id, file.path) == file
    assert await store.container_files.find("org_a", file.id) == file


async def test_a_changed_file_keeps_its_id_and_creation_and_has_the_new_bytes(store, container):
    first = make_container_file(container.id, created_at=1.0, bytes=1, source="user")
    again = make_container_file(container.id, created_at=2.0, bytes=2, source="assistant")
    await store.container_files.upsert(first)

    stands = await store.container_files.upsert(again)

    assert (stands.id, stands.created_at) == (first.id, 1.0)
    assert (stands.bytes, stands.blob_id, stands.source) == (2, again.blob_id, "assistant")
    assert await store.container_files.all(container.id) == [stands]


async def test_a_moved_file_keeps_all_but_its_path_and_takes_the_place_of_another(store, container):
    file = make_container_file(container.id, path="/mnt/data/a", source="user")
    other = make_container_file(container.id, path="/mnt/data/b")
    for each in (file, other):
        await store.container_files.upsert(each)

    moved, replaced = await store.container_files.move(file, "/mnt/data/b", mime_type="text/csv")
    gone = await store.container_files.move(other, "/mnt/data/c", mime_type="text/csv")

    assert moved == replace(file, path="/mnt/data/b", mime_type="text/csv")
    assert replaced == other
    assert gone == (None, None)
    assert await store.container_files.all(container.id) == [moved]


async def test_files_of_another_container_or_organization_behave_as_absent(store, container):
    file = make_container_file(container.id)
    await store.container_files.upsert(file)

    assert await store.container_files.get("cntr_other", file.id) is None
    assert await store.container_files.by_path("cntr_other", file.path) is None
    assert await store.container_files.delete("cntr_other", file.id) is None
    assert await store.container_files.find("org_b", file.id) is None
    assert await store.container_files.all("cntr_other") == []


@pytest.mark.parametrize(("status", "is_found"), [("expired", True), ("deleted", False)])
async def test_find_reaches_into_expired_containers_and_not_into_deleted_ones(
    store, container, status, is_found
):
    file = make_container_file(container.id)
    await store.container_files.upsert(file)
    await store.containers.set_status(container.id, status)

    assert (await store.container_files.find("org_a", file.id) is not None) == is_found


async def test_two_containers_may_have_a_file_at_the_same_path(store, container):
    other = make_container()
    await store.containers.insert(other)
    one, two = make_container_file(container.id), make_container_file(other.id)
    await store.container_files.upsert(one)
    await store.container_files.upsert(two)

    assert await store.container_files.all(container.id) == [one]
    assert await store.container_files.all(other.id) == [two]


async def test_files_are_listed_and_paged_in_order_of_creation(store, container):
    late = make_container_file(container.id, path="/mnt/data/a", created_at=9.0)
    early = make_container_file(container.id, path="/mnt/data/b", created_at=3.0)
    await store.container_files.upsert(late)
    await store.container_files.upsert(early)

    assert await store.container_files.all(container.id) == [early, late]
    page = await store.container_files.page(container.id, Page(1, "asc"))
    assert (page.data, page.has_more) == ([early], True)


async def test_deleting_by_id_or_by_path_returns_the_record_once(store, container):
    one = make_container_file(container.id, path="/mnt/data/one")
    two = make_container_file(container.id, path="/mnt/data/two")
    await store.container_files.upsert(one)
    await store.container_files.upsert(two)

    assert await store.container_files.delete(container.id, one.id) == one
    assert await store.container_files.delete(container.id, one.id) is None
    assert await store.container_files.delete_path(container.id, two.path) == two
    assert await store.container_files.delete_path(container.id, two.path) is None


async def test_a_file_cannot_be_in_a_container_that_is_not_there(store):
    with pytest.raises(IntegrityError):
        await store.container_files.upsert(make_container_file("cntr_none"))
