"""Control groups, on whatever this machine offers."""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sanderling.sandbox import cgroup
from sanderling.sandbox.cgroup import Cgroups, Hierarchy
from sanderling.sandbox.group import Group

DEADLINE_S = 20.0
# A host that is killed while a process of its box is frozen.
DYING_HOST = """
import os, subprocess, sys
from sanderling.sandbox import cgroup
made = cgroup.find(cgroup.host_folder())
group = made.create("box")
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
spinner = subprocess.Popen([sys.executable, "-c", "while True: pass"], **quiet)
group.add(spinner.pid)
group.freeze()
while not group.is_frozen(): pass
print(spinner.pid, *{str(folder) for folder in made.parents.values()}, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.fixture(scope="module")
def cgroups() -> Iterator[Cgroups]:
    found = cgroup.find(cgroup.host_folder())
    if found.kind == "none":
        pytest.skip("no control groups can be made here")
    yield found
    found.close()
    assert not [p for p in found.parents.values() if p.exists()]


@pytest.fixture
def group(cgroups: Cgroups) -> Iterator[Group]:
    made = cgroups.create(secrets.token_hex(4))
    assert made is not None
    yield made
    made.remove()


def needs(group: Group, controller: str) -> None:
    if not group.has(controller):
        pytest.skip(f"this machine has no {controller} controller for us")


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def start(group: Group, code: str) -> subprocess.Popen[bytes]:
    """Start a program that waits to be in its group before it does anything."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", 'read go; exec "$0" -c "$1"', sys.executable, code],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    group.add(process.pid)
    assert process.stdin is not None
    process.stdin.write(b"go\n")
    process.stdin.close()
    return process


def ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_a_process_in_a_group_is_held_to_its_memory(group: Group) -> None:
    needs(group, "memory")
    group.limit(memory_bytes=64 << 20, cpu_count=1.0)
    hog = start(group, "b = b'x' * (256 << 20)")

    assert hog.wait() == -signal.SIGKILL
    assert group.counts().oom_kills == 1


FILL_SOCKETS = """
import socket
server, ends, sent = socket.create_server(("127.0.0.1", 0)), [], 0
for _ in range(200):
    ends += [socket.create_connection(server.getsockname()), server.accept()[0]]
    ends[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 26)
    ends[-2].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 26)
    ends[-2].setblocking(False)
    try:
        while True:
            sent += ends[-2].send(bytes(1 << 16))
    except BlockingIOError:
        pass
raise SystemExit(sent > 150 << 20)
"""


def test_what_connections_hold_is_held_to_the_memory_as_well(group: Group) -> None:
    needs(group, "memory")
    group.limit(memory_bytes=64 << 20, cpu_count=1.0)

    assert start(group, FILL_SOCKETS).wait() in {0, -signal.SIGKILL}


def test_what_is_charged_to_a_group_is_known(group: Group) -> None:
    needs(group, "memory")
    code = "b = b'x' * (50 << 20); import sys; sys.stdout.close(); import time; time.sleep(60)"
    hog = start(group, code)

    until(lambda: group.process_bytes()[0] > 50 << 20)
    assert group.memory_bytes() > 50 << 20
    hog.kill()
    hog.wait()


def test_processes_that_are_refused_are_counted(group: Group) -> None:
    needs(group, "pids")
    (group.folders["pids"] / "pids.max").write_text("1")
    lonely = start(group, "import os; os.fork()")

    assert lonely.wait() == 1
    assert group.counts().refused == 1


def test_processors_that_are_used_up_are_counted(group: Group) -> None:
    needs(group, "cpu")
    group.limit(memory_bytes=1 << 30, cpu_count=0.1)
    busy = start(group, "while True: pass")

    until(lambda: group.counts().throttled > 0)
    busy.kill()
    busy.wait()


def test_a_frozen_group_stands_still_and_goes_on_when_thawed(group: Group) -> None:
    needs(group, "freezer")
    busy = start(group, "while True: pass")
    until(lambda: ticks(busy.pid) > 2)

    group.freeze()
    until(group.is_frozen)
    before = ticks(busy.pid)
    time.sleep(0.1)  # what must not happen has no moment at which it has not happened
    assert ticks(busy.pid) == before

    group.thaw()
    until(lambda: ticks(busy.pid) > before)
    busy.kill()
    busy.wait()


def test_a_removed_group_leaves_nothing(cgroups: Cgroups) -> None:
    group = cgroups.create("box")
    assert group is not None
    folders = list(group.folders.values())
    assert all(folder.is_dir() for folder in folders)

    group.remove()

    assert not any(folder.exists() for folder in folders)


def test_all_boxes_together_leave_the_machine_something(cgroups: Cgroups) -> None:
    told = {
        path.name: int(path.read_text())
        for folder in set(cgroups.parents.values())
        for name in ("memory.max", "memory.limit_in_bytes", "cpu.weight", "cpu.shares", "pids.max")
        if (path := folder / name).exists()
    }
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")

    assert told.get("memory.max", told.get("memory.limit_in_bytes", 0)) < memory
    assert told.get("cpu.weight", 50) <= 50
    assert told.get("cpu.shares", 512) <= 512
    assert told.get("pids.max", 0) < int(Path("/proc/sys/kernel/pid_max").read_text())


def test_a_host_that_ends_ends_what_is_frozen(group: Group, cgroups: Cgroups) -> None:
    needs(group, "freezer")
    busy = start(group, "while True: pass")
    group.freeze()
    until(group.is_frozen)

    cgroups.end()

    assert busy.wait() == -signal.SIGKILL


@pytest.mark.parametrize("is_asked_after", [True, False])
def test_what_a_killed_host_left_frozen_is_ended_and_swept(
    cgroups: Cgroups, is_asked_after: bool
) -> None:
    if "freezer" in cgroups.missing:
        pytest.skip("this machine has no freezer for us")
    command = [sys.executable, "-c", DYING_HOST]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        spinner, *folders = host.stdout.read().split()
        os.waitid(os.P_PID, host.pid, os.WEXITED | os.WNOWAIT)  # it stays, as a zombie
        if is_asked_after:
            assert host.wait() == -signal.SIGKILL
        assert is_there(int(spinner))

        cgroup.find(cgroup.host_folder()).close()

        until(lambda: not is_there(int(spinner)))
    assert not any(Path(folder).exists() for folder in folders)


def test_the_groups_of_a_living_host_stay(cgroups: Cgroups) -> None:
    parent = next(iter(cgroups.parents.values())).parent
    young = parent / cgroup.host_folder()  # it has no lock yet
    foreign = parent / "sanderling-host-4194304-1-00"  # its number means nothing here
    for folder in (young, foreign):
        folder.mkdir()
    lock = os.open(foreign, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)

    cgroup.find(cgroup.host_folder()).close()

    assert young.exists()
    assert foreign.exists()
    os.close(lock)
    young.rmdir()
    cgroup.find(cgroup.host_folder()).close()
    assert not foreign.exists()


# ---- which of them -----------------------------------------------------------------------------


def test_where_nothing_can_be_made_the_kind_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "_mounted", lambda: ({}, None))

    found = cgroup.find("anything")

    assert found.kind == "none"
    assert found.missing == cgroup.CONTROLLERS
    assert found.create("box") is None


@pytest.mark.parametrize("controller", cgroup.CONTROLLERS)
def test_a_controller_that_is_missing_leaves_the_others(
    cgroups: Cgroups, monkeypatch: pytest.MonkeyPatch, controller: str
) -> None:
    if cgroups.kind != "v1":
        pytest.skip("only v1 mounts them one by one")
    v1, v2 = cgroup._mounted()
    del v1[controller]
    monkeypatch.setattr(cgroup, "_mounted", lambda: (v1, v2))

    found = cgroup.find(cgroup.host_folder())

    group = found.create("box")
    assert group is not None
    group.limit(memory_bytes=1 << 30, cpu_count=1.0)
    group.counts()
    group.remove()
    found.close()
    assert found.missing == (controller, *(c for c in cgroups.missing if c != controller))


def test_a_unified_hierarchy_without_controllers_is_passed_over(
    cgroups: Cgroups, monkeypatch: pytest.MonkeyPatch
) -> None:
    v1, v2 = cgroup._mounted()
    if v2 is None or not v1:
        pytest.skip("this machine is no hybrid")
    name = cgroup.host_folder()

    found = cgroup.find(name)

    assert found.kind == "v1"
    assert not (v2.mount / name).exists()
    found.close()


@pytest.mark.parametrize(
    ("is_root", "membership", "expected"),
    [
        (False, "/user.slice/me", [("delegated", "user.slice/me")]),
        (False, "/me/sanderling-self", [("delegated", "me")]),
        (True, "/system.slice/it", [("v2", ""), ("delegated", "system.slice/it")]),
        (True, "/", [("v2", "")]),
        (True, "/sanderling-self", [("v2", "")]),
    ],
)
def test_a_unified_hierarchy_is_used_at_its_root_or_where_we_are(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_root: bool,
    membership: str,
    expected: list[tuple[str, str]],
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0 if is_root else 1000)

    found = list(cgroup._candidates({}, Hierarchy(tmp_path), {"": membership}))

    assert [(kind, bases["memory"]) for kind, bases in found] == [
        (kind, tmp_path / path) for kind, path in expected
    ]


def test_root_stays_in_the_group_that_a_service_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {(tmp_path / "system.slice/it", "trusted.delegate"): b"1"}
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "getxattr", lambda path, name: given.get((path, name), b""))

    found = cgroup._candidates({}, Hierarchy(tmp_path), {"": "/system.slice/it"})

    assert [kind for kind, _ in found] == ["delegated", "v2"]


@pytest.mark.parametrize(
    ("root", "membership", "expected"),
    [("/", "/a/b", "a/b"), ("/docker/1", "/docker/1", ""), ("/docker/1", "/docker/1/x", "x")],
)
def test_a_group_is_found_where_it_is_mounted(root: str, membership: str, expected: str) -> None:
    assert Hierarchy(Path("/cg"), root).folder(membership) == Path("/cg") / expected


def test_a_process_is_known_to_be_inside_or_not(group: Group) -> None:
    program = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert not group.holds(program.pid)
        group.add(program.pid)
        assert group.holds(program.pid)
    finally:
        program.communicate(b"\n")


def test_a_process_moves_itself_in_where_there_are_doors(group: Group) -> None:
    doors = group.doors()
    if not doors:
        pytest.skip("only v1 has them")
    code = "import os, sys; [os.write(int(fd), b'0') for fd in sys.argv[1:]]; print(); input()"
    program = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, doors)],
        pass_fds=doors,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert program.stdout is not None
        program.stdout.readline()
        assert group.holds(program.pid)
    finally:
        program.communicate(b"\n")
        for fd in doors:
            os.close(fd)
