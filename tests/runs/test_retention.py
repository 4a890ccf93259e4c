from __future__ import annotations

import asyncio

from sanderling.models.scripted import text
from sanderling.runs.retention import sweep_forever
from tests.containers.makers import ORG, until
from tests.runs.stage import Stage, request


async def test_watch_forgets_runs_that_were_not_to_be_stored(stage: Stage) -> None:
    run, _ = await stage.run([text("Hi")], request("Hi", stored=False))
    stage.clock.advance(minutes=11)

    async def is_forgotten() -> bool:
        return await stage.store.runs.get(ORG, run.id) is None

    watch = asyncio.create_task(sweep_forever(stage.runner([]), every_s=0))
    await until(is_forgotten)

    watch.cancel()
    await asyncio.wait({watch})
