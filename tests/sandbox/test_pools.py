"""The environments of one host: begun when asked for, ended when idle, alone in life and death."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from pathlib import Path
from typing import Self

import pytest

from sanderling.environments import catalog, making, staging
from sanderling.environments.catalog import Catalog
from sanderling.errors import InvalidRequest, MachineFull, SetupError, SpawnFailed
from sanderling.sandbox import pools as pools_module
from sanderling.sandbox.base import Ended, Result
from sanderling.sandbox.local import LocalSandbox
from sanderling.sandbox.options import HostOptions
from tests.doubles.plain_spawner import PlainSpawner
from tests.doubles.planted import plant
from tests.sandbox.stages import DEADLINE_S, LIMITS, until


class Hosted:
    """A sandbox whose zygotes are doubles, by the folder they were started on."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.folder = folder
        self.makers: dict[str, list[PlainSpawner]] = {}
        self.asked: dict[str, HostOptions] = {}
        self.may_start = asyncio.Event()
        self.may_start.set()
        self.refusal: Exception | None = None
        self.local = LocalSandbox(
            HostOptions(
                env="/nowhere",
                disk_bytes=1 << 20,
                logs_bytes_max=1 << 20,
                pool_size=1,
                boxes_max=9,
                environments=str(folder),
                **options,
            ),
            self._start,
            memory_left=lambda: 1 << 30,
        )

    async def _start(self, options: HostOptions) -> PlainSpawner:
        name = Path(options.env).name
        await self.may_start.wait()
        if self.refusal is not None and name != "nowhere":
            raise self.refusal
        self.asked[name] = options
        self.makers.setdefault(name, []).append(await PlainSpawner.start())
        return self.makers[name][-1]

    async def create(self, container_id: str, environment: str) -> bool:
        return await self.local.create(container_id, LIMITS, environment=environment)

    def standing(self) -> dict[str, int]:
        return self.local._pools.standing()

    async def __aenter__(self) -> Self:
        await self.local.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.may_start.set()
        await self.local.end()


async def run(local: LocalSandbox, container_id: str) -> list[object]:
    stream = local.execute(container_id, f"e-{os.urandom(4).hex()}", "1 + 1", timeout_s=DEADLINE_S)
    return [happening async for happening in stream]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("geo", "text", "old"):
        plant(tmp_path, name, preload="humanize" if name == "text" else None)
    return tmp_path


async def test_an_environment_begins_with_its_first_box_and_ends_when_idle(folder: Path):
    async with Hosted(folder, environment_idle_s=0.0) as hosted:
        assert list(hosted.makers) == ["nowhere"]
        await hosted.create("cntr_a", "geo")
        shown = await run(hosted.local, "cntr_a")
        assert (await hosted.local.status()).environments == {"default": 0, "geo": 1}
        await hosted.create("cntr_b", "geo")
        await hosted.local.close("cntr_a")
        assert hosted.standing()["geo"] == 1
        await hosted.local.close("cntr_b")
        await until(lambda: hosted.standing() == {"default": 0})
        [maker] = hosted.makers["geo"]
        await until(lambda: not maker.is_alive)

    assert shown[0] == Result("2")
    assert hosted.asked["geo"].env == str(folder / "geo")


async def test_an_idle_environment_stays_for_whoever_comes_soon(folder: Path):
    async with Hosted(folder, environment_idle_s=600.0) as hosted:
        for _ in range(2):
            await hosted.create("cntr_a", "geo")
            await hosted.local.close("cntr_a")

        assert hosted.standing() == {"default": 0, "geo": 0}
        assert len(hosted.makers["geo"]) == 1


async def test_an_environment_has_its_own_preload_list_and_not_the_operators(folder: Path):
    async with Hosted(folder, preload="numpy") as hosted:
        for name in ("text", "geo", ""):
            await hosted.create(f"cntr_{name}", name)

    assert {name: asked.preload for name, asked in hosted.asked.items()} == {
        "nowhere": "numpy",
        "text": "humanize",
        "geo": "",
    }


async def test_when_a_zygote_dies_only_its_own_boxes_are_lost(folder: Path):
    async with Hosted(folder) as hosted:
        for name in ("", "geo", "text"):
            await hosted.create(f"cntr_{name}", name)
        os.kill(hosted.makers["geo"][0].pid, signal.SIGKILL)
        await until(lambda: "cntr_geo" not in hosted.local._keepers)
        others = [await run(hosted.local, f"cntr_{name}") for name in ("", "text")]
        is_new = await hosted.create("cntr_geo", "geo")
        again = await run(hosted.local, "cntr_geo")

    assert [shown[0] for shown in (*others, again)] == [Result("2")] * 3
    assert is_new
    assert all(isinstance(shown[-1], Ended) and not shown[-1].is_fresh for shown in others)


async def test_two_who_ask_at_once_share_one_start_and_others_do_not_wait_for_it(folder: Path):
    async with Hosted(folder) as hosted:
        hosted.may_start.clear()
        waiting = [
            asyncio.create_task(hosted.create(f"cntr_{number}", "geo")) for number in range(5)
        ]
        await until(lambda: hosted.standing().get("geo") == 5)
        await hosted.local.create("cntr_home", LIMITS)
        assert not any(task.done() for task in waiting)
        hosted.may_start.set()
        await asyncio.gather(*waiting)

        assert len(hosted.makers["geo"]) == 1


async def test_nobody_waits_for_ever_for_a_start(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pools_module, "_START_WAIT_S", 0.01)
    async with Hosted(folder) as hosted:
        hosted.may_start.clear()
        with pytest.raises(SpawnFailed, match="still being started"):
            await hosted.create("cntr_a", "geo")
        hosted.may_start.set()
        await until(lambda: "geo" in hosted.makers)
        await hosted.create("cntr_a", "geo")


async def test_a_start_that_fails_says_why_and_is_tried_again_by_the_next(folder: Path):
    async with Hosted(folder) as hosted:
        hosted.refusal = SetupError("What should be preloaded cannot be.")
        with pytest.raises(SetupError, match="cannot be"):
            await hosted.create("cntr_a", "geo")
        await until(lambda: hosted.standing() == {"default": 0})
        hosted.refusal = None
        await hosted.create("cntr_a", "geo")


async def test_so_many_and_no_more_and_an_idle_one_makes_room(folder: Path):
    async with Hosted(folder, environments_max=2) as hosted:
        for name in ("geo", "text"):
            await hosted.create(f"cntr_{name}", name)
        with pytest.raises(MachineFull, match="As many environments"):
            await hosted.create("cntr_old", "old")
        await hosted.local.close("cntr_geo")
        await hosted.create("cntr_old", "old")

        assert hosted.standing() == {"default": 0, "text": 1, "old": 1}


@pytest.mark.parametrize("name", ["nope", "../geo", "/etc", "GEO", ".geo.lock", "x" * 1000])
async def test_a_name_that_is_none_is_refused(folder: Path, name: str):
    async with Hosted(folder) as hosted:
        with pytest.raises(InvalidRequest) as refusal:
            await hosted.create("cntr_a", name)

        assert refusal.value.param == "environment"
        assert hosted.standing() == {"default": 0}


async def test_an_environment_is_not_removed_while_boxes_use_it(folder: Path):
    there = Catalog(folder)
    async with Hosted(folder) as hosted:
        await hosted.create("cntr_a", "geo")
        with pytest.raises(SetupError, match="in use"):
            there.remove("geo", is_forced=False, progress=print)
        await hosted.local.close("cntr_a")
        there.remove("geo", is_forced=False, progress=print)
        with pytest.raises(InvalidRequest):
            await hosted.create("cntr_a", "geo")

    assert there.names() == ["default", "old", "text"]


async def test_an_environment_that_is_being_changed_is_asked_for_again_and_not_lost(folder: Path):
    async with Hosted(folder) as hosted:
        await hosted.create("cntr_a", "geo")
        await hosted.local.close("cntr_a")
        with catalog.unused(folder / "geo", is_forced=False, so="replace"):
            with pytest.raises(MachineFull, match="replaced or removed; try again"):
                await hosted.create("cntr_a", "geo")
            assert hosted.standing() == {"default": 0, "geo": 0}
        await hosted.create("cntr_a", "geo")
        assert len(hosted.makers["geo"]) == 1

        # Of text there is no zygote, and of new there is nothing yet.
        with (
            catalog.unused(folder / "text", is_forced=False, so="replace"),
            staging.alone(folder / "new", print, advice=""),
        ):
            for name in ("text", "new"):
                with pytest.raises(MachineFull, match="try again"):
                    await hosted.create("cntr_b", name)
        with pytest.raises(InvalidRequest):
            await hosted.create("cntr_b", "new")


async def test_who_looks_whether_an_environment_is_used_keeps_nobody_from_it(folder: Path):
    async with Hosted(folder) as hosted:
        catalog.check_unused(folder / "geo", so="replace")
        await hosted.create("cntr_a", "geo")

        with pytest.raises(SetupError, match="replace it with --force"):
            catalog.check_unused(folder / "geo", so="replace")
        wish = making.Wish("geo", "humanize\n", is_bare=True)
        with pytest.raises(SetupError, match="in use"):
            making.make(wish, Catalog(folder), print, may_replace=True)


async def test_what_cannot_be_ended_keeps_nothing_else_open(folder: Path):
    async with Hosted(folder, environment_idle_s=0.0) as hosted:
        await hosted.create("cntr_a", "geo")
        [maker] = hosted.makers["geo"]
        close, maker.close = maker.close, failing  # type: ignore[method-assign]
        assert held(folder / "geo")
        await hosted.local.close("cntr_a")
        await until(lambda: not held(folder / "geo"))
        await hosted.create("cntr_a", "geo")
        await close()


async def failing() -> None:
    raise OSError(errno.EIO, "no")


def held(path: Path) -> bool:
    """Whether this process has anything of an environment open."""
    folder = Path("/proc/self/fd")
    names = [os.readlink(fd) for fd in folder.iterdir() if fd.is_symlink()]
    return any(Path(name).is_relative_to(path) for name in names)


async def test_one_removed_by_force_leaves_its_boxes_and_takes_no_more(folder: Path):
    async with Hosted(folder) as hosted:
        await hosted.create("cntr_a", "geo")
        Catalog(folder).remove("geo", is_forced=True, progress=print)
        with pytest.raises(InvalidRequest):
            await hosted.create("cntr_b", "geo")
        shown = await run(hosted.local, "cntr_a")
        await hosted.local.close("cntr_a")
        [maker] = hosted.makers["geo"]
        await until(lambda: not maker.is_alive)

    assert shown[0] == Result("2")


async def test_one_that_is_replaced_counts_while_boxes_of_it_stand(folder: Path):
    async with Hosted(folder, environments_max=1) as hosted:
        await hosted.create("cntr_a", "geo")
        plant(folder, "geo")
        with pytest.raises(MachineFull, match="As many environments"):
            await hosted.create("cntr_b", "geo")
        await hosted.local.close("cntr_a")
        await hosted.create("cntr_b", "geo")

        assert len(hosted.makers["geo"]) == 2


async def test_a_replaced_environment_is_started_anew_for_the_next_box(folder: Path):
    async with Hosted(folder) as hosted:
        await hosted.create("cntr_a", "geo")
        await hosted.local.close("cntr_a")
        plant(folder, "geo")
        await hosted.create("cntr_a", "geo")
        first, second = hosted.makers["geo"]
        await until(lambda: not first.is_alive)

        assert second.is_alive


async def test_a_named_environment_can_be_the_home_of_a_host(folder: Path):
    async with Hosted(folder, environment="geo", environment_idle_s=0.0) as hosted:
        await hosted.local.create("cntr_a", LIMITS)
        with pytest.raises(SetupError, match="in use"):
            Catalog(folder).remove("geo", is_forced=False, progress=print)
        await hosted.local.close("cntr_a")
        await hosted.create("cntr_b", "default")

        assert hosted.standing() == {"geo": 0, "default": 1}
        assert list(hosted.makers) == ["geo", "nowhere"]


async def test_a_home_that_is_removed_is_refused_until_it_is_there_again(folder: Path):
    async with Hosted(folder, environment="geo") as hosted:
        Catalog(folder).remove("geo", is_forced=False, progress=print)
        with pytest.raises(InvalidRequest, match="no environment 'geo'"):
            await hosted.local.create("cntr_a", LIMITS)
        status = await hosted.local.status()
        plant(folder, "geo")
        await hosted.local.create("cntr_a", LIMITS)

        assert status.environments == {}
        assert hosted.standing() == {"geo": 1}


async def test_a_host_that_ends_says_its_status(folder: Path):
    async with Hosted(folder) as hosted:
        pass

    assert (await hosted.local.status()).pool == 0
