from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sanderling.sandbox.processes import Processes

DEADLINE_S = 20.0
# A program with a thread and a child, and memory of each kind.
FAMILY = """
import mmap, os, socket, sys, threading, time
pair = socket.socketpair()
kept = bytearray(b'x' * (40 << 20))
shared = mmap.mmap(-1, 20 << 20)
shared[:] = bytes(20 << 20)
unnamed = os.memfd_create('unnamed')
os.write(unnamed, bytes(10 << 20))
if os.fork() == 0:
    time.sleep(1000)
threading.Thread(target=time.sleep, args=[1000], daemon=True).start()
print('ready', flush=True)
sys.stdin.read()
"""


@pytest.fixture
def family() -> Iterator[Processes]:
    process = subprocess.Popen(
        [sys.executable, "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    made = Processes(process.pid)
    pids = made.all()
    yield made
    made.resume()
    for pid in reversed(pids):
        subprocess.run(["/bin/kill", "-9", str(pid)], check=False, stderr=subprocess.DEVNULL)
    process.communicate()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def states(processes: Processes) -> str:
    texts = [Path(f"/proc/{pid}/stat").read_text() for pid in processes.all()]
    return "".join(text.rpartition(") ")[2][0] for text in texts)


def test_all_stand_still_when_they_are_stopped_and_go_on(family: Processes):
    assert len(family.all()) == 2

    until(family.stop)
    assert states(family) == "TT"

    family.resume()
    until(lambda: "T" not in states(family))


def test_one_that_stood_before_stands_on(family: Processes):
    child = family.all()[1]
    subprocess.run(["/bin/kill", "-STOP", str(child)], check=True)
    until(lambda: "T" in states(family))

    until(family.stop)
    family.resume()

    until(lambda: states(family)[0] != "T")
    assert states(family)[1] == "T"


def test_threads_and_children_are_company(family: Processes):
    assert family.has_company()
    with subprocess.Popen(["/bin/sleep", "100"]) as alone:
        assert not Processes(alone.pid).has_company()
        alone.kill()


def test_memory_is_counted_by_its_kind(family: Processes):
    own, shared = family.proportional_bytes()

    assert 40 << 20 < own < 80 << 20  # both have it, and it counts once
    assert 20 << 20 <= shared < 30 << 20
    assert family.resident_bytes() > own + shared
    unnamed, sockets = family.held_bytes()
    assert 10 << 20 <= unnamed < 11 << 20
    assert sockets == 2 * (208 << 10)  # both have both, and each counts once


def test_what_has_ended_has_nothing():
    with subprocess.Popen(["/bin/true"]) as process:
        process.wait()
    gone = Processes(process.pid)

    assert gone.all() == [process.pid]
    assert gone.stop()
    assert (gone.resident_bytes(), gone.held_bytes()) == (0, (0, 0))
    assert not gone.has_company()
