from __future__ import annotations

from sanderling.store.paging import Page
from tests.store.makers import make_container


async def test_a_container_comes_back_as_it_was_recorded(store):
    container = make_container(memory_limit="16g", expires_after_minutes=3)
    await store.containers.insert(container)

    assert await store.containers.get("org_a", container.id) == container
    assert await store.containers.find(container.id) == container


async def test_a_foreign_container_behaves_as_absent(store):
    container = make_container()
    await store.containers.insert(container)

    assert await store.containers.get("org_b", container.id) is None


async def test_touch_moves_the_last_use_forward_only(store):
    container = make_container(last_active_at=100.0)
    await store.containers.insert(container)

    assert await store.containers.touch(container.id, 200.0)
    assert await store.containers.touch(container.id, 150.0)

    assert (await store.containers.find(container.id)).last_active_at == 200.0


async def test_touch_does_not_wake_an_expired_container(store):
    container = make_container()
    await store.containers.insert(container)
    await store.containers.set_status(container.id, "expired")

    assert not await store.containers.touch(container.id, 9999.0)
    assert (await store.containers.find(container.id)).last_active_at == container.last_active_at


async def test_set_status_tells_whether_it_changed_anything(store):
    container = make_container()
    await store.containers.insert(container)

    assert await store.containers.set_status(container.id, "expired")
    assert not await store.containers.set_status(container.id, "expired")
    assert (await store.containers.find(container.id)).status == "expired"
    assert not await store.containers.set_status("cntr_none", "expired")


async def test_a_deleted_container_is_absent_everywhere_and_for_good(store):
    container = make_container(last_active_at=0.0)
    await store.containers.insert(container)
    await store.containers.set_status(container.id, "deleted")

    assert await store.containers.get("org_a", container.id) is None
    assert await store.containers.find(container.id) is None
    assert (await store.containers.page("org_a", Page())).data == []
    assert await store.containers.idle_since(1e12) == []
    assert not await store.containers.set_status(container.id, "running")


async def test_a_page_can_be_of_one_name_and_shows_expired_containers(store):
    one, two = make_container(name="one"), make_container(name="two", status="expired")
    await store.containers.insert(one)
    await store.containers.insert(two)

    assert (await store.containers.page("org_a", Page(order="asc"))).data == [one, two]
    assert (await store.containers.page("org_a", Page(), name="two")).data == [two]
    assert (await store.containers.page("org_b", Page())).data == []


async def test_idle_since_counts_each_containers_own_minutes(store):
    short = make_container(last_active_at=100.0, expires_after_minutes=1)
    long = make_container(last_active_at=50.0, expires_after_minutes=2)
    over = make_container(last_active_at=0.0, status="expired")
    for container in (short, long, over):
        await store.containers.insert(container)

    assert await store.containers.idle_since(159.9) == []
    assert await store.containers.idle_since(160.0) == [short]
    assert await store.containers.idle_since(170.0) == [long, short]


async def test_a_container_used_since_it_was_found_idle_does_not_expire(store):
    container = make_container(last_active_at=0.0, expires_after_minutes=1)
    await store.containers.insert(container)
    assert await store.containers.idle_since(60.0) == [container]
    await store.containers.touch(container.id, 59.0)

    assert not await store.containers.expire(container.id, 60.0)
    assert (await store.containers.find(container.id)).status == "running"
    assert await store.containers.expire(container.id, 119.0)
    assert (await store.containers.find(container.id)).status == "expired"
