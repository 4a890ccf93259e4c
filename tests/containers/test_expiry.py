from __future__ import annotations

import asyncio

from sanderling.containers.expiry import expire_forever
from sanderling.containers.registry import Containers
from sanderling.store.store import Store
from tests.containers.makers import ORG, until
from tests.doubles.fake_clock import FakeClock


async def test_watch_expires_idle_containers_and_goes_on(
    containers: Containers, store: Store, clock: FakeClock
) -> None:
    watch = asyncio.create_task(expire_forever(containers, every_s=0))
    for _ in range(2):
        container = await containers.create(ORG, name="x", expires_after_minutes=1)

        async def has_expired(container_id: str = container.id) -> bool:
            found = await store.containers.find(container_id)
            return found is not None and found.status == "expired"

        clock.advance(minutes=1)
        await until(has_expired)

    watch.cancel()
    await asyncio.wait({watch})
