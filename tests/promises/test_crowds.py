"""
Many clients at once, and processes that die, seen by clients of a real server.

An organization that floods the server delays another by a turn at most; a burst is served whole and
in order; whatever dies is replaced, and the next output says what was lost.
"""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from sanderling.store.keys import new_key
from sanderling.store.store import Store
from tests.cli.live import LiveServer, serving
from tests.promises.test_limits import (
    STARTED_ANEW,
    Workplace,
    client_of,
    host_of,
    kill,
    processes_below,
    told_by,
)

pytestmark = pytest.mark.sandbox

BOXES_MAX = 24
SHARE = 20
CELLS_MAX = 2
FLOOD = 100
BURST = 200


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("crowds") / "data"


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[LiveServer]:
    limits = ("--boxes-max", str(BOXES_MAX), "--boxes-per-organization-max", str(SHARE))
    with serving(data, *limits, "--executions-max", str(CELLS_MAX)) as live:
        yield live


@pytest.fixture(scope="module")
def keys(data: Path, server: LiveServer) -> dict[str, str]:
    async def create() -> dict[str, str]:
        store = await Store.open(data)
        made = {}
        for name in ("flood", "single"):
            made[name], record = new_key(name, f"org_{name}", now=0.0)
            await store.keys.insert(record)
        await store.close()
        return made

    return asyncio.run(create())


@asynccontextmanager
async def connected(server: LiveServer, key: str, **options: Any) -> AsyncIterator[AsyncOpenAI]:
    settings = {"max_retries": 0, "timeout": 100.0, **options}
    async with AsyncOpenAI(base_url=server.url, api_key=key, **settings) as client:
        yield client


async def run(client: AsyncOpenAI, container_id: str, code: str, **body: Any) -> Any:
    path = f"/containers/{container_id}/executions"
    return await client.post(path, body={"code": code, **body}, cast_to=object)


async def test_a_flood_of_one_organization_does_not_hold_up_another(
    server: LiveServer, keys: dict[str, str]
):
    async with (
        connected(server, keys["flood"]) as ours,
        connected(server, keys["single"]) as theirs,
    ):
        made = await asyncio.gather(*(ours.containers.create(name="flood") for _ in range(FLOOD)))
        busy = [
            asyncio.create_task(run(ours, container.id, "while True: pass", timeout_seconds=600))
            for container in made
        ]
        done: set[asyncio.Task[Any]] = set()
        async with asyncio.timeout(60):  # those beyond the share are refused, not kept waiting
            while len(done) < FLOOD - SHARE:
                done, _ = await asyncio.wait(busy, return_when=asyncio.FIRST_COMPLETED, timeout=1)
        still = [task for task in busy if not task.done()]

        container = await theirs.containers.create(name="single")
        shown = await run(theirs, container.id, "6 * 7")

        assert shown["outputs"] == [{"type": "result", "text": "42"}]
        assert len(still) == SHARE
        assert not any(task.done() for task in still)  # the flood is there still: two run, 18 wait
        refused = [task.exception() for task in done]
        assert {type(error) for error in refused} == {openai.RateLimitError}
        for error in refused:
            assert isinstance(error, openai.RateLimitError)
            assert "boxes_per_organization_max" in error.message
            assert int(error.response.headers["retry-after"]) >= 1
        await asyncio.gather(*(ours.containers.delete(c.id) for c in made))
        ended = [(await task)["status"] for task in still]
        assert ended == ["interrupted"] * SHARE
        await theirs.containers.delete(container.id)


async def test_a_full_machine_is_said_with_when_to_come_back(
    server: LiveServer, keys: dict[str, str]
):
    async with (
        connected(server, keys["flood"]) as ours,
        connected(server, keys["single"]) as theirs,
    ):
        mine = [await ours.containers.create(name="full") for _ in range(SHARE)]
        yours = [await theirs.containers.create(name="full") for _ in range(BOXES_MAX - SHARE + 1)]
        await asyncio.gather(*(run(ours, c.id, "1") for c in mine))
        *fitting, last = yours
        await asyncio.gather(*(run(theirs, c.id, "1") for c in fitting))

        with pytest.raises(openai.InternalServerError) as caught:
            await run(theirs, last.id, "1")

        assert (caught.value.status_code, caught.value.code) == (503, "machine_full")
        assert int(caught.value.response.headers["retry-after"]) >= 1
        assert "Delete containers" in caught.value.message
        await asyncio.gather(*(ours.containers.delete(c.id) for c in mine))
        assert (await run(theirs, last.id, "1"))["status"] == "ok"
        await asyncio.gather(*(theirs.containers.delete(c.id) for c in yours))


async def test_a_burst_of_containers_and_executions_is_served_whole_and_in_order(
    server: LiveServer, keys: dict[str, str]
):
    async with connected(server, keys["single"]) as client:
        made = await asyncio.gather(
            *(client.containers.create(name=f"burst {n}") for n in range(BURST))
        )
        assert len({container.id for container in made}) == BURST
        first = made[0].id
        await run(client, first, "order = []")
        path = f"/containers/{first}/executions"
        started = []
        for number in range(BURST):  # a stream is answered when its execution is in line
            code = "#" * (number % 5 * 10_000) + f"\norder.append({number})"
            body = {"code": code, "stream": True}
            started.append(
                await client.post(
                    path,
                    body=body,
                    cast_to=object,
                    stream=True,
                    stream_cls=openai.AsyncStream[object],
                )
            )

        async def last(stream: Any) -> Any:
            return [event async for event in stream][-1]

        ended = await asyncio.gather(*map(last, started))

        assert {event["execution"]["status"] for event in ended} == {"ok"}
        shown = await run(client, first, "order")
        assert shown["outputs"][0]["text"].split() == str(list(range(BURST))).split()
        await asyncio.gather(*(client.containers.delete(c.id) for c in made))


# ---- deaths ------------------------------------------------------------------------------------


@pytest.fixture
def workplace(server: LiveServer, keys: dict[str, str]) -> Iterator[Workplace]:
    with OpenAI(base_url=server.url, api_key=keys["single"], max_retries=0, timeout=60.0) as client:
        made = Workplace(client)
        yield made
        client.containers.delete(made.id)


def zygote_of(host: int) -> int:
    """The child of the host's through which every box is forked."""
    return int(Path(f"/proc/{host}/task/{host}/children").read_text().split()[0])


def test_a_zygote_that_was_killed_is_replaced_and_files_are_kept(workplace: Workplace, data: Path):
    workplace.remember()
    running = workplace.begin("print('in', flush=True)\nwhile True:\n    pass")
    running.saw("in")
    host = host_of(data)
    kill(zygote_of(host))

    ended = running.result()

    assert ended["status"] == "died"
    assert "gone" in told_by(ended, "stderr")
    after = workplace.run("open('kept.txt').read()")
    assert after["outputs"][0] == {"type": "result", "text": "'kept'"}
    assert STARTED_ANEW in told_by(after, "stderr")
    assert host_of(data) == host
    assert not workplace.remembers()


def test_another_host_takes_over_and_nothing_is_left_of_the_one_before(
    workplace: Workplace, tmp_path: Path
):
    workplace.remember()  # on the host of another data folder, whom nothing of this concerns
    own = tmp_path / "data"
    with serving(own) as first, client_of(first) as client:
        container_id = found_anew(client, None)
        Workplace(client, container_id).run("import subprocess; subprocess.Popen(['sleep', '999'])")
        killed = host_of(own)
        below = {pid: os.pidfd_open(pid) for pid in processes_below(killed)}
        kill(killed)
        found_anew(client, container_id)  # the server found its host dead
        # What stood still in a v1 control group ends when the next host sweeps.
        for pid, process in below.items():
            assert select.select([process], [], [], 60)[0], Path(f"/proc/{pid}/status").read_text()
            os.close(process)
        assert groups_of(killed) == []
        living = host_of(own)
        replaced = os.pidfd_open(living)
        first.process.kill()
        first.process.wait()
    # An upgrade, or other settings: the living host does not fit, and is replaced.
    with serving(own, "--pool-size", "1") as second, client_of(second) as client:
        assert host_of(own) != living
        assert select.select([replaced], [], [], 0)[0], "the host that did not fit goes on"
        os.close(replaced)
        found_anew(client, container_id)
    assert workplace.remembers()


def found_anew(client: OpenAI, container_id: str | None) -> str:
    """Find the container's file and be told that its variable is gone; leave both again."""
    workplace = Workplace(client, container_id)
    if container_id is not None:
        found = workplace.run("print(open('kept.txt').read(), 'x' in globals())")
        assert told_by(found, "stdout") == "kept False\n"
        assert STARTED_ANEW in told_by(found, "stderr")
    workplace.remember()
    return workplace.id


def groups_of(host: int) -> list[str]:
    return [top for top, _, _ in os.walk("/sys/fs/cgroup") if f"sanderling-host-{host}-" in top]
