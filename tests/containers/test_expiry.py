from __future__ import annotations

import asyncio

from sanderling.containers.expiry import expire_forever
from sanderling.containers.registry import Containers
from sanderling.store.store import Store
from tests.containers.makers import ORG
from tests.doubles.fake_clock import FakeClock


async def test_watch_expires_idle_containers_and_goes_on(
    containers: Containers, store: Store, clock: FakeClock
) -> None:
    async with asyncio.timeout(5):
        watch = asyncio.create_task(expire_forever(containers, every_s=0))
        for _ in range(2):
            container = await containers.create(ORG, name="x", expires_after_minutes=1)
            clock.advance(minutes=1)
            while (found := await store.containers.find(container.id)) is None or (
                found.status != "expired"
            ):
                await asyncio.sleep(0)

        watch.cancel()
        await asyncio.wait({watch})
