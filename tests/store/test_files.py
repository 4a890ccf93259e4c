from __future__ import annotations

from sanderling.store.paging import Page
from tests.store.makers import make_file


async def test_a_file_comes_back_as_it_was_recorded(store):
    file = make_file(filename='ü "1".csv', expires_at=1234.5678)
    await store.files.insert(file)

    assert await store.files.get("org_a", file.id) == file


async def test_a_foreign_file_behaves_as_absent(store):
    file = make_file()
    await store.files.insert(file)

    assert await store.files.get("org_b", file.id) is None
    assert await store.files.delete("org_b", file.id) is None
    assert (await store.files.page("org_b", page=Page())).data == []
    assert await store.files.get("org_a", file.id) == file


async def test_deleting_returns_the_record_once(store):
    file = make_file()
    await store.files.insert(file)

    assert await store.files.delete("org_a", file.id) == file
    assert await store.files.delete("org_a", file.id) is None
    assert await store.files.get("org_a", file.id) is None


async def test_a_page_can_be_of_one_purpose(store):
    vision, data = make_file(purpose="vision"), make_file(purpose="user_data")
    await store.files.insert(vision)
    await store.files.insert(data)

    listing = await store.files.page("org_a", purpose="vision", page=Page())

    assert listing.data == [vision]


async def test_expired_tells_files_of_everybody_from_their_last_second_on(store):
    due = make_file(expires_at=50.0)
    later = make_file(expires_at=50.5, organization_id="org_b")
    for file in (due, later, make_file()):
        await store.files.insert(file)

    assert await store.files.expired(49.0) == []
    assert await store.files.expired(50.0) == [due]
    assert await store.files.expired(51.0) == [due, later]


async def test_keeping_records_once_and_tells_what_is_there(store):
    first, second = make_file(id="file-a", blob_id="b1"), make_file(id="file-a", blob_id="b2")

    assert await store.files.keep(first) == first
    assert await store.files.keep(second) == first
    assert await store.files.get("org_a", "file-a") == first
