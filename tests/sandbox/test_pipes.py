"""What programs print that earlier cells have left running: theirs, and said to be."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from sanderling.environments.environment import Environment
from sanderling.sandbox import pipes
from sanderling.sandbox.base import BoxLimits, Logs
from sanderling.sandbox.box import Box
from sanderling.sandbox.pipes import OLD_MAX, OldPipes
from sanderling.sandbox.shown import Cell, CellEnded
from sanderling.sandbox.spawner import Spawner
from tests.sandbox.stages import until

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="module")]

# Prints a line for each byte it is sent, and ends when nobody can send any more.
ECHO = """\
import os, subprocess, sys
def leave(word):
    code = f"while input(): print({word!r}, flush=True)"
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
def ask(program):
    program.stdin.write(b"x\\n")
    program.stdin.flush()
    time.sleep(0.2)
import time
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def spawner(guest_env: Environment) -> AsyncIterator[Spawner]:
    made = await Spawner.start(
        env=guest_env.path, disk_bytes=64 << 20, logs_bytes_max=10_000, preload=()
    )
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="module")
async def box(spawner: Spawner) -> AsyncIterator[Box]:
    made = await spawner.spawn()
    await made.configure(BoxLimits(memory_bytes=256 << 20))
    yield made
    made.kill()
    await made.wait_dead()
    made.release()


async def printed(box: Box, code: str) -> str:
    shown = [s async for s in box.run_cell(code)]
    assert isinstance(shown[-1], CellEnded)
    assert shown[-1].status == "ok", shown
    return "".join(s.text for s in shown if isinstance(s, Logs))


async def until_printed(box: Box, wanted: str) -> str:
    """Run idle cells until what they have shown together contains `wanted`."""
    text = ""
    async with asyncio.timeout(30):
        while wanted not in text:
            text += await printed(box, "time.sleep(0.05)")
    return text


async def test_a_program_of_an_earlier_cell_is_shown_with_its_cell(box: Box):
    await printed(box, ECHO + "first = leave('of the first')")
    await printed(box, "second = leave('of the second')")
    await printed(box, "for p in (first, second): p.stdin.write(b'x\\n'); p.stdin.flush()")

    text = await until_printed(box, "[cell 2] of the second\n")
    own = await printed(box, "subprocess.run(['echo', 'mine']); os.write(1, b'and mine\\n')")

    assert "[cell 1] of the first\n" in text or "[cell 1] of the first\n" in own
    assert own.endswith("mine\nand mine\n")
    assert "[cell 2] mine" not in own


async def test_what_is_printed_after_a_cell_is_over_is_in_the_next_one_and_marked(box: Box):
    await printed(box, ECHO + "late = leave('late'); late.stdin.write(b'x\\n'); late.stdin.flush()")

    text = await until_printed(box, "late\n")

    assert text == "[cell 1] late\n"


async def test_pipes_that_nobody_holds_any_more_are_closed(box: Box):
    await printed(box, ECHO + "program = leave('gone')")
    await printed(box, "1")
    assert OldPipes.of_all > 0

    await printed(box, "program.stdin.close(); program.wait()")
    async with asyncio.timeout(30):
        while OldPipes.of_all:
            await printed(box, "time.sleep(0.05)")

    assert await printed(box, "subprocess.run(['echo', 'on'])") == "on\n"


async def test_code_that_has_closed_everything_gets_its_new_pipes_all_the_same(box: Box):
    await printed(box, ECHO + "program = leave('on')")
    await printed(box, "for fd in (0, 1, 2, 4, 5): os.close(fd)")

    assert await printed(box, "subprocess.run(['echo', 'mine'])") == "mine\n"


async def test_code_that_has_used_up_its_descriptors_goes_on(box: Box):
    await printed(box, ECHO + "program = leave('on')")
    await printed(
        box,
        "held = []\ntry:\n    while True: held.append(os.dup(1))\nexcept OSError: pass",
    )

    assert await printed(box, "print('still here')") == "still here\n"
    await printed(box, "for fd in held: os.close(fd)")
    assert await printed(box, "subprocess.run(['echo', 'mine'])") == "mine\n"


async def test_a_box_without_descriptors_to_spare_goes_on(
    box: Box, monkeypatch: pytest.MonkeyPatch
):
    def refuse() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    await printed(box, ECHO + "program = leave('on')")
    monkeypatch.setattr(pipes, "make", refuse)

    assert await printed(box, "subprocess.run(['echo', 'mine'])") == "mine\n"


async def test_pipes_that_cannot_all_be_made_leave_none(monkeypatch: pytest.MonkeyPatch):
    before = open_descriptors()
    opened, open_file = 0, os.open

    def open_once(*arguments: Any) -> int:
        nonlocal opened
        opened += 1
        if opened == 2:
            raise OSError(errno.EMFILE, "Too many open files")
        return open_file(*arguments)

    monkeypatch.setattr(os, "open", open_once)
    with pytest.raises(OSError, match="Too many"):
        pipes.make()
    monkeypatch.undo()

    assert open_descriptors() == before


async def test_the_oldest_pipes_are_closed_when_there_are_too_many(box: Box):
    await printed(box, ECHO + "kept = []")
    before = open_descriptors()
    for _ in range(OLD_MAX // 2 + 3):
        await printed(box, "kept.append(leave('x'))")

    assert open_descriptors() - before == OLD_MAX


async def test_death_closes_all_of_them(spawner: Spawner):
    before = open_descriptors()
    box = await spawner.spawn()
    for _ in range(3):
        await printed(box, ECHO + "program = leave('x')")
    box.kill()
    await box.wait_dead()
    box.release()

    assert OldPipes.of_all == 0
    await until(lambda: open_descriptors() <= before)  # groups are removed in a thread


async def test_a_character_may_come_in_pieces_and_a_line_too():
    made, theirs = pipes.make()
    out, _, *again = theirs
    old = OldPipes()
    old.add(made, 7)
    cell = Cell("0" * 32, 1000)
    old.begin(cell)
    text = ""
    for piece in (b"caf\xc3", b"\xa9 and ", b"more\nsecond", b" line\n"):
        os.write(out, piece)
        await until(lambda: not waiting(again[0]))
    cell.end("ok")
    while (shown := await cell.next()) is not None:
        assert isinstance(shown, Logs)
        text += shown.text
    old.end()
    old.close()
    for fd in theirs:
        os.close(fd)

    assert text == "[cell 7] café and more\n[cell 7] second line\n"


def waiting(fd: int) -> bool:
    return any(fcntl.ioctl(fd, 0x541B, bytes(4)))  # FIONREAD


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
