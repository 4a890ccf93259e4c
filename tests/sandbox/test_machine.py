from __future__ import annotations

import os
import resource
import stat
from pathlib import Path

import pytest

from sanderling.errors import SetupError
from sanderling.sandbox import machine

MEMINFO = "MemTotal:  8388608 kB\nMemFree: 1 kB\nMemAvailable:  1048576 kB\n"


def fake_machine(root: Path, *, groups: str, limits: dict[str, str]) -> dict[str, Path]:
    proc, cgroups = root / "proc", root / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(MEMINFO)
    (proc / "self" / "cgroup").write_text(groups)
    for path, text in limits.items():
        (cgroups / path).parent.mkdir(parents=True, exist_ok=True)
        (cgroups / path).write_text(text + "\n")
    return {"proc": proc, "cgroups": cgroups}


@pytest.mark.parametrize(
    ("groups", "limits", "gib"),
    [
        ("0::/\n", {}, 8),
        ("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": str(2 << 30)}, 2),
        ("0::/a\n", {"a/memory.max": str(64 << 30)}, 8),
        ("4:memory:/x\n0::/\n", {"memory/x/memory.limit_in_bytes": str(3 << 30)}, 3),
        ("4:cpu:/x\n", {"memory/memory.limit_in_bytes": str(3 << 30)}, 8),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712"}, 8),
    ],
)
def test_memory_is_the_machines_or_the_tightest_groups(tmp_path, groups, limits, gib):
    assert machine.memory_bytes(**fake_machine(tmp_path, groups=groups, limits=limits)) == gib << 30


@pytest.mark.parametrize(
    ("groups", "files", "mib"),
    [
        ("0::/\n", {}, 1024 - 410),  # a twentieth of 8 GiB is kept
        (
            "0::/a\n",
            {
                "a/memory.max": str(1 << 30),
                "a/memory.current": str(700 << 20),
                "a/memory.stat": f"anon 5\ninactive_file {100 << 20}",
            },
            1024 - 700 + 100 - 128,  # no less than 128 MiB is
        ),
        (
            "4:memory:/x\n",
            {
                "memory/x/memory.limit_in_bytes": str(1 << 30),
                "memory/x/memory.usage_in_bytes": str(1 << 30),
                "memory/x/memory.stat": "total_inactive_file 0",
            },
            -128,
        ),
        ("0::/a\n", {"a/memory.max": str(1 << 20)}, 1024 - 410),  # it does not say what is used
    ],
)
def test_memory_left_is_the_machines_or_the_tightest_groups_less_a_reserve(
    tmp_path, groups, files, mib
):
    left = machine.memory_left(**fake_machine(tmp_path, groups=groups, limits=files))

    assert left >> 20 == mib


def test_the_memory_of_this_machine_is_known():
    assert machine.memory_bytes() > 64 << 20


def test_the_socket_is_in_a_private_folder_of_the_data_folder(tmp_path: Path):
    path = machine.socket_path(tmp_path / "data")

    assert path == tmp_path / "data" / "host" / "host.sock"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_path_too_long_for_a_socket_gets_a_short_private_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    runtime = tmp_path / "run"
    runtime.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    deep = tmp_path / ("d" * 120)
    path = machine.socket_path(deep)

    assert path.parent.parent == runtime
    assert path == machine.socket_path(deep)
    assert path != machine.socket_path(tmp_path / ("e" * 120))
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path):
    (tmp_path / "data" / "host").mkdir(parents=True)
    os.chown(tmp_path / "data" / "host", 12345, 12345)
    with pytest.raises(SetupError):
        machine.socket_path(tmp_path / "data")


def test_a_link_in_the_place_of_the_folder_is_refused(tmp_path: Path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "host").symlink_to(tmp_path)
    with pytest.raises(SetupError):
        machine.socket_path(tmp_path / "data")


def test_no_more_boxes_are_made_than_there_are_descriptors_for():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        assert machine.boxes_max() == 40
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
        assert machine.boxes_max() == 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_boxes_together_leave_memory_and_process_numbers_to_the_machine():
    assert machine.memory_bytes() // 2 <= machine.boxes_memory_bytes() < machine.memory_bytes()
    assert 0 < machine.boxes_pids() < int(Path("/proc/sys/kernel/pid_max").read_text())
