from __future__ import annotations

import os
from pathlib import Path

import pytest

from sanderling.errors import MachineUnfit
from sanderling.sandbox import levels
from sanderling.sandbox.options import HostOptions


def options(**changed: str) -> HostOptions:
    return HostOptions(
        env="/nowhere", disk_bytes=1, logs_bytes_max=1024, pool_size=0, boxes_max=1, **changed
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("isolation", "min_isolation"),
    [("zygote", "zygote"), ("gvisor", "zygote"), ("gvisor", "gvisor")],
)
def test_a_level_at_or_above_the_least_is_fine(isolation: str, min_isolation: str) -> None:
    levels.check(isolation, min_isolation)


def test_a_level_below_the_least_is_refused_with_the_one_to_choose() -> None:
    with pytest.raises(MachineUnfit, match=r"'zygote' is weaker than 'gvisor'.* to 'gvisor'"):
        levels.check("zygote", "gvisor")


@pytest.mark.parametrize("isolation", ["zygote", "gvisor"])
def test_no_level_is_good_enough_where_the_least_is_a_virtual_machine(isolation: str) -> None:
    with pytest.raises(MachineUnfit, match=r"weaker than 'vm'.*virtual machine of its own"):
        levels.check(isolation, "vm")


def test_a_virtual_machine_is_not_offered() -> None:
    with pytest.raises(MachineUnfit, match="'vm' is not offered; there are 'zygote' and 'gvisor'"):
        levels.check("vm", "zygote")


async def test_gvisor_that_is_not_installed_is_not_replaced_by_something_weaker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineUnfit, match="runsc"):
        await levels.start(options(isolation="gvisor"))


async def test_gvisor_says_that_it_needs_root(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "runsc").write_text("#!/bin/sh\n")
    (tmp_path / "runsc").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    told, reason = await levels.try_gvisor(tmp_path)
    assert told == "not available"
    assert reason is not None
    assert "as root" in reason


async def test_behind_gvisor_there_is_no_way_out_to_open(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "runsc").write_text("#!/bin/sh\n")
    (tmp_path / "runsc").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(MachineUnfit, match="egress_domains needs isolation zygote"):
        await levels.start(options(isolation="gvisor", egress_domains="pypi.org"))
