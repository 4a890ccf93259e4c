"""Control groups, on whatever this machine offers."""

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sanderling.sandbox import cgroup


@pytest.fixture
def cgroups() -> Iterator[cgroup.Cgroups]:
    found = cgroup.find(f"sanderling-test-{secrets.token_hex(4)}")
    if found.kind == "none":
        pytest.skip("no control groups can be made here")
    yield found
    found.close()
    assert not [p for p in found.parents.values() if p.exists()]


def test_a_process_in_a_group_is_held_to_its_memory(cgroups: cgroup.Cgroups) -> None:
    group = cgroups.create("box")
    assert group is not None
    group.limit(memory_bytes=64 << 20, cpu_count=1.0)
    hog = subprocess.Popen(
        ["/bin/sh", "-c", "read go; exec python3 -c 'b = b\"x\" * (256 << 20)'"],
        stdin=subprocess.PIPE,
    )
    group.add(hog.pid)
    hog.communicate(b"go\n")

    assert hog.returncode == -9
    assert group.oom_kills() == 1
    group.remove()


def test_a_removed_group_leaves_nothing(cgroups: cgroup.Cgroups) -> None:
    group = cgroups.create("box")
    assert group is not None
    folders = list(group.folders.values())
    assert all(folder.is_dir() for folder in folders)

    group.remove()

    assert not any(folder.exists() for folder in folders)


def test_groups_of_a_host_that_was_killed_are_swept_and_those_of_a_living_one_stay(
    cgroups: cgroup.Cgroups,
) -> None:
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    parent = next(iter(cgroups.parents.values())).parent
    dead, living = parent / f"sanderling-host-{gone.pid}-00", parent / cgroup.host_folder()
    for folder in (dead, dead / "box", living):
        folder.mkdir()

    cgroup.find(f"sanderling-test-{secrets.token_hex(4)}").close()

    assert not dead.exists()
    assert living.exists()
    living.rmdir()


def test_where_nothing_can_be_made_the_kind_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "_mounted", lambda: ({}, None))

    found = cgroup.find("anything")

    assert found.kind == "none"
    assert found.create("box") is None


def test_a_subtree_given_to_us_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The candidates of a v2 machine, root and not: the order of preference."""
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    memberships = {"": "/user.slice/me"}

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    as_user = list(cgroup._candidates("s", {}, tmp_path, memberships))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    as_root = list(cgroup._candidates("s", {}, tmp_path, memberships))

    assert [kind for kind, _ in as_user] == ["delegated"]
    assert as_user[0][1]["memory"] == tmp_path / "user.slice/me/s"
    assert [kind for kind, _ in as_root] == ["v2", "delegated"]
    assert as_root[0][1]["memory"] == tmp_path / "s"
