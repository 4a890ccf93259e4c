from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from sanderling.errors import Conflict, NotFound, SpawnFailed
from sanderling.sandbox.base import BoxLimits, ChangedFile, Ended, Error, Image, Logs, Result
from sanderling.sandbox.box import Box
from sanderling.sandbox.journal import EXECUTIONS_MAX
from sanderling.sandbox.keeper import Keeper
from sanderling.sandbox.shown import CellEnded
from tests.doubles.plain_spawner import PlainSpawner
from tests.sandbox.stages import until

DEADLINE_S = 30.0
LIMITS = BoxLimits(memory_bytes=1 << 30)
RESTARTED = (
    "The Python process had to be restarted: variables are gone, files in /mnt/data are kept."
)
SWALLOWS_INTERRUPTS = (
    "import signal, time\n"
    "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    "print('begun')\n"
    "while True: time.sleep(60)\n"
)


class Kept:
    """A keeper of a real kernel without a wall, and what a test wants to know of it."""

    def __init__(self, spawner: PlainSpawner, box: Box, deserted_s: float) -> None:
        self.spawner = spawner
        self.keeper = Keeper(
            "cntr_x",
            box,
            LIMITS,
            respawn=spawner.respawn,
            on_lost=self._count_loss,
            grace_s=0.3,
            deserted_s=deserted_s,
        )
        self.losses = 0
        self._count = 0

    def _count_loss(self) -> None:
        self.losses += 1

    async def run(self, code: str, *, timeout_s: float = DEADLINE_S) -> list[Any]:
        self._count += 1
        journal = self.keeper.submit(f"auto_{self._count}", code, timeout_s=timeout_s)
        return await happenings(journal)

    async def end_of(self, code: str, *, timeout_s: float = DEADLINE_S) -> Ended:
        return (await self.run(code, timeout_s=timeout_s))[-1]


async def happenings(journal) -> list[Any]:
    async with asyncio.timeout(DEADLINE_S):
        return [happening async for _, happening in journal.follow()]


async def until_shown(journal, text: str) -> None:
    """Wait until the cell has printed `text`: it runs."""
    shown = ""
    async with asyncio.timeout(DEADLINE_S):
        async for _, happening in journal.follow():
            if isinstance(happening, Logs):
                shown += happening.text
            if text in shown:
                return
    raise AssertionError(shown)


@contextlib.asynccontextmanager
async def keeping(*, deserted_s: float = DEADLINE_S) -> AsyncIterator[Kept]:
    spawner = await PlainSpawner.start(logs_bytes_max=64 << 10)
    box = await spawner.spawn()
    await box.configure(LIMITS)
    made = Kept(spawner, box, deserted_s)
    yield made
    await made.keeper.close()
    await spawner.close()


@pytest.fixture
async def kept() -> AsyncIterator[Kept]:
    async with keeping() as made:
        yield made


# ---- cells -------------------------------------------------------------------------------------


async def test_a_cell_tells_what_it_shows_in_order_and_then_its_end(kept: Kept):
    shown = await kept.run("print('a'); 1 + 1")

    assert shown[:-1] == [Logs("stdout", "a\n"), Result("2")]
    assert (shown[-1].status, shown[-1].notice, shown[-1].is_fresh) == ("ok", None, False)
    assert shown[-1].duration_ms > 0


async def test_an_exception_is_an_error_and_variables_live_on(kept: Kept):
    await kept.run("x = 41")
    shown = await kept.run("1 / 0")
    after = await kept.run("x + 1")

    assert [type(h) for h in shown] == [Error, Ended]
    assert shown[0].name == "ZeroDivisionError"
    assert shown[1].status == "error"
    assert after[0] == Result("42")


async def test_executions_run_one_after_another_in_the_order_they_came(kept: Kept):
    code = "order = [*globals().get('order', []), {}]; order"
    journals = [kept.keeper.submit(f"e{n}", code.format(n), timeout_s=9) for n in range(5)]
    last = (await happenings(journals[-1]))[0]

    assert last == Result("[0, 1, 2, 3, 4]")


async def test_the_same_execution_id_runs_once_and_is_told_again(kept: Kept):
    code = "n = globals().get('n', 0) + 1; n"
    first = kept.keeper.submit("same", code, timeout_s=9)
    assert kept.keeper.submit("same", code, timeout_s=9) is first

    told = await happenings(first)
    again = await happenings(kept.keeper.submit("same", code, timeout_s=9))

    assert told == again
    assert told[0] == Result("1")


async def test_an_execution_whose_record_is_gone_is_not_run_again(kept: Kept):
    for number in range(EXECUTIONS_MAX + 1):
        await happenings(kept.keeper.submit(f"e{number}", "1", timeout_s=9))
    with pytest.raises(Conflict):
        kept.keeper.submit("e0", "1", timeout_s=9)


# ---- files -------------------------------------------------------------------------------------


async def test_the_end_names_changed_and_removed_files(kept: Kept):
    made = await kept.end_of("open('a.txt', 'w').write('abc'); open('b.txt', 'w').close()")
    changed = await kept.end_of("import os; open('a.txt', 'a').write('d'); os.remove('b.txt')")
    idle = await kept.end_of("1")

    assert made.changed == (ChangedFile("/mnt/data/a.txt", 3), ChangedFile("/mnt/data/b.txt", 0))
    assert changed.changed == (ChangedFile("/mnt/data/a.txt", 4),)
    assert changed.removed == ("/mnt/data/b.txt",)
    assert (idle.changed, idle.removed) == ((), ())


async def test_a_file_written_by_the_host_is_no_change_and_one_the_code_makes_of_it_is(kept: Kept):
    async def content() -> AsyncIterator[bytes]:
        yield b"a,b\n1,2\n"

    await kept.keeper.files.write("/mnt/data/in.csv", content())
    read = await kept.run("open('in.csv').read()")
    changed = await kept.end_of("open('in.csv', 'a').write('3,4')")

    assert read[0] == Result(repr("a,b\n1,2\n"))
    assert read[-1].changed == ()
    assert changed.changed == (ChangedFile("/mnt/data/in.csv", 11),)


async def test_odd_things_in_the_folder_are_passed_over(kept: Kept):
    ended = await kept.end_of(
        "import os, socket\n"
        "os.mkfifo('fifo'); os.symlink('/etc/passwd', 'link'); os.mkdir('folder')\n"
        "s = socket.socket(socket.AF_UNIX); s.bind('sock')\n"
        "open('new\\nline', 'w').close(); open(b'\\xff', 'w').close()\n"
        "open('good', 'w').close()"
    )

    assert ended.changed == (ChangedFile("/mnt/data/good", 0),)


# ---- deadlines and interrupts ------------------------------------------------------------------


async def test_a_cell_past_its_deadline_is_stopped_and_its_variables_stay(kept: Kept):
    await kept.run("x = 7")
    ended = await kept.end_of("while True: pass", timeout_s=0.2)
    after = await kept.run("x")

    assert ended.status == "timed_out"
    assert ended.notice == "The code ran longer than 0.2 s and was stopped."
    assert not ended.is_fresh
    assert after[0] == Result("7")


async def test_a_cell_that_swallows_interrupts_is_killed_and_its_files_are_kept(kept: Kept):
    await kept.run("x = 7; open('kept.txt', 'w').write('k')")
    shown = await kept.run("open('late.txt', 'w').close()\n" + SWALLOWS_INTERRUPTS, timeout_s=0.3)
    ended = shown[-1]
    after = await kept.run("import os; print(sorted(os.listdir('.'))); 'x' in globals()")

    assert ended.status == "timed_out"
    assert ended.notice == f"The code ran longer than 0.3 s and was stopped. {RESTARTED}"
    assert ended.is_fresh
    assert ended.changed == (ChangedFile("/mnt/data/late.txt", 0),)
    assert after[0] == Logs("stdout", "['kept.txt', 'late.txt']\n")
    assert after[1] == Result("False")


async def test_a_running_execution_is_interrupted(kept: Kept):
    journal = kept.keeper.submit("e", "print('begun')\nwhile True: pass", timeout_s=DEADLINE_S)
    await until_shown(journal, "begun")

    assert kept.keeper.interrupt("e")
    ended = (await happenings(journal))[-1]
    assert (ended.status, ended.notice, ended.is_fresh) == ("interrupted", None, False)
    assert not kept.keeper.interrupt("e")


async def test_an_interrupt_that_is_swallowed_ends_in_a_restart(kept: Kept):
    journal = kept.keeper.submit("e", SWALLOWS_INTERRUPTS, timeout_s=DEADLINE_S)
    await until_shown(journal, "begun")

    assert kept.keeper.interrupt("e")
    ended = (await happenings(journal))[-1]
    assert ended.status == "interrupted"
    assert ended.notice == f"The code was interrupted. {RESTARTED}"
    assert ended.is_fresh


async def test_a_queued_execution_is_interrupted_and_never_runs(kept: Kept):
    running = kept.keeper.submit("a", "print('begun')\nwhile True: pass", timeout_s=DEADLINE_S)
    queued = kept.keeper.submit("b", "open('never', 'w')", timeout_s=DEADLINE_S)
    await until_shown(running, "begun")

    assert kept.keeper.interrupt("b")
    assert (await happenings(queued))[-1].status == "interrupted"
    assert kept.keeper.interrupt("a")
    assert (await happenings(running))[-1].changed == ()


async def test_an_execution_can_be_interrupted_before_its_cell_began(kept: Kept):
    journal = kept.keeper.submit("e", "open('never', 'w')", timeout_s=DEADLINE_S)

    assert kept.keeper.interrupt("e")
    assert [h.status for h in await happenings(journal)] == ["interrupted"]
    assert (await kept.end_of("1")).changed == ()


async def test_an_unknown_execution_cannot_be_interrupted(kept: Kept):
    assert not kept.keeper.interrupt("nobody")


async def test_nothing_of_a_deadline_is_left_for_the_next_cell(kept: Kept):
    await kept.end_of("1", timeout_s=0.2)
    ended = await kept.end_of("import time; time.sleep(0.4)")

    assert ended.status == "ok"


# ---- deaths ------------------------------------------------------------------------------------


async def test_a_kernel_that_dies_is_replaced_and_the_end_says_so(kept: Kept):
    ended = await kept.end_of("open('kept', 'w').close(); import os; os._exit(3)")
    after = await kept.run("import os; os.listdir('.')")

    assert ended.status == "died"
    assert ended.notice == f"The Python process ended while the code was running. {RESTARTED}"
    assert ended.is_fresh
    assert ended.changed == (ChangedFile("/mnt/data/kept", 0),)
    assert after[0] == Result("['kept']")
    assert after[-1].status == "ok"
    assert not after[-1].is_fresh


async def test_what_waits_behind_a_death_still_runs(kept: Kept):
    kept.keeper.submit("a", "import os; os._exit(3)", timeout_s=9)
    behind = kept.keeper.submit("b", "1 + 1", timeout_s=9)

    assert (await happenings(behind))[0] == Result("2")


async def test_a_kernel_that_died_between_cells_is_replaced_and_the_next_end_says_so(kept: Kept):
    await kept.run("x = 1")
    box = kept.keeper._box
    box.kill()
    await asyncio.wait_for(box.wait_dead(), DEADLINE_S)
    shown = await kept.run("1 + 1")

    assert shown[0] == Result("2")
    assert shown[-1].status == "ok"
    assert shown[-1].is_fresh
    assert shown[-1].notice == f"The Python process had ended by itself. {RESTARTED}"


async def test_a_kernel_that_cannot_be_replaced_ends_everything_as_died(kept: Kept):
    kept.spawner.refuses = SpawnFailed("no room")
    running = kept.keeper.submit("a", "import os; os._exit(3)", timeout_s=9)
    queued = kept.keeper.submit("b", "1", timeout_s=9)
    ended = (await happenings(running))[-1]

    assert ended.status == "died"
    assert "could not be restarted" in ended.notice
    assert ended.changed == ()
    assert (await happenings(queued))[-1].status == "died"
    assert kept.losses == 1
    assert (await kept.end_of("1")).status == "died"


async def test_a_lost_box_ends_what_runs_and_is_given_up(kept: Kept):
    journal = kept.keeper.submit("a", "print('begun')\nwhile True: pass", timeout_s=DEADLINE_S)
    await until_shown(journal, "begun")
    kept.keeper.lose()
    kept.keeper._box.kill()

    assert (await happenings(journal))[-1].status == "died"
    assert kept.losses == 1
    assert kept.spawner.spawned == 1


async def test_an_idle_lost_box_is_given_up_at_once(kept: Kept):
    kept.keeper.lose()
    async with asyncio.timeout(DEADLINE_S):
        await kept.keeper._worker

    assert kept.losses == 1


# ---- the end -----------------------------------------------------------------------------------


async def test_closing_ends_what_runs_and_what_waits_as_interrupted(kept: Kept):
    running = kept.keeper.submit("a", SWALLOWS_INTERRUPTS, timeout_s=DEADLINE_S)
    queued = kept.keeper.submit("b", "1", timeout_s=DEADLINE_S)
    await until_shown(running, "begun")
    box = kept.keeper._box
    await kept.keeper.close()

    assert (await happenings(running))[-1].status == "interrupted"
    assert (await happenings(queued))[-1].status == "interrupted"
    assert box.is_dead
    assert kept.losses == 0
    with pytest.raises(NotFound):
        await kept.keeper.files.delete("/mnt/data/x")


async def test_what_comes_after_the_close_is_interrupted(kept: Kept):
    await kept.keeper.close()

    assert (await kept.end_of("1")).status == "interrupted"


async def test_a_closed_keeper_leaves_no_descriptor_open():
    spawner = await PlainSpawner.start()
    before = set(os.listdir("/proc/self/fd"))
    box = await spawner.spawn()
    await box.configure(LIMITS)
    keeper = Keeper("cntr_x", box, LIMITS, respawn=spawner.respawn, on_lost=lambda: None)
    await happenings(keeper.submit("a", "import os; os._exit(1)", timeout_s=9))
    await happenings(keeper.submit("b", "open('x', 'w').close()", timeout_s=9))
    await keeper.close()

    assert set(os.listdir("/proc/self/fd")) == before
    await spawner.close()


# ---- what only the machine can say -------------------------------------------------------------


class Playbook:
    """A box that shows what it is told to, for ends that need a machine out of memory."""

    def __init__(self, folder: Path, *shows: Any) -> None:
        self.data_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self.file_owner = None
        self.is_dead = False
        self._shows = shows

    async def run_cell(self, code: str) -> AsyncIterator[Any]:
        for shown in self._shows:
            if isinstance(shown, CellEnded) and shown.status == "died":
                self.is_dead = True
            yield shown

    async def configure(self, limits: BoxLimits) -> None:
        pass

    def has_company(self) -> bool:
        return False

    def exceeds(self, memory_bytes: int) -> bool:
        return False

    def freeze(self) -> None:
        pass

    def kill(self) -> None:
        self.is_dead = True

    async def wait_dead(self) -> None:
        assert self.is_dead

    def release(self) -> None:
        os.close(self.data_fd)


async def played(
    tmp_path: Path, *shows: Any, limits: BoxLimits = LIMITS, code: Callable[[], str] = str
) -> list[Any]:
    async def respawn(dead: Any) -> Any:
        dead.release()
        return Playbook(tmp_path)

    keeper = Keeper(
        "cntr_x", Playbook(tmp_path, *shows), limits, respawn=respawn, on_lost=lambda: None
    )
    try:
        return await happenings(keeper.submit("e", code(), timeout_s=9))
    finally:
        await keeper.close()


@pytest.mark.parametrize(
    ("memory_bytes", "said"), [(1 << 30, "1 GiB"), (512 << 20, "512 MiB"), (64 << 30, "64 GiB")]
)
async def test_a_death_by_memory_names_the_limit(tmp_path: Path, memory_bytes: int, said: str):
    died = CellEnded("died", is_out_of_memory=True, dropped_bytes=0)
    [ended] = await played(tmp_path, died, limits=BoxLimits(memory_bytes))

    assert ended.status == "out_of_memory"
    assert ended.notice == (
        f"The code needed more than its {said} of memory and was stopped. {RESTARTED}"
    )
    assert ended.is_fresh


async def test_a_process_of_the_code_killed_for_memory_is_told_of(tmp_path: Path):
    survived = CellEnded("ok", is_out_of_memory=True, dropped_bytes=0)
    [ended] = await played(tmp_path, survived)

    assert ended.status == "ok"
    assert "1 GiB" in ended.notice
    assert not ended.is_fresh


async def test_left_out_output_is_told_of(tmp_path: Path):
    [ended] = await played(tmp_path, CellEnded("ok", is_out_of_memory=False, dropped_bytes=12345))

    assert ended.notice == "The output was too long: 12,345 bytes of it were left out."


@pytest.mark.parametrize("path", ["/etc/passwd", "x", "/mnt/data/" + "x" * 5000])
async def test_a_saved_path_that_cannot_be_one_is_dropped(tmp_path: Path, path: str):
    image = Image("image/png", b"x", "figure.png", path)
    shown = await played(tmp_path, image, CellEnded("ok", is_out_of_memory=False, dropped_bytes=0))

    assert shown[0] == Image("image/png", b"x", "figure.png", None)


async def test_a_fault_of_ours_ends_the_execution_as_died(tmp_path: Path):
    [ended] = await played(tmp_path)  # a cell that never says it ended

    assert ended.status == "died"


@pytest.fixture
async def impatient() -> AsyncIterator[Kept]:
    """A keeper that gives up at once on an execution that nobody follows."""
    async with keeping(deserted_s=0.0) as made:
        yield made


async def test_cell_that_nobody_asks_after_any_more_makes_room_for_the_next(impatient: Kept):
    journal = impatient.keeper.submit("e1", "print('begun')\nwhile True: pass", timeout_s=3600)
    async with contextlib.aclosing(journal.follow()) as happening:
        await anext(happening)

    assert (await impatient.run("6 * 7"))[0] == Result("42")
    assert (await happenings(journal))[-1].status == "interrupted"


async def test_cell_that_one_of_two_followers_leaves_goes_on(impatient: Kept):
    code = "import time\nprint('begun')\ntime.sleep(0.3)\nprint('done')"
    journal = impatient.keeper.submit("e1", code, timeout_s=DEADLINE_S)
    staying = asyncio.create_task(happenings(journal))
    await until(lambda: journal.followers == 1)
    async with contextlib.aclosing(journal.follow()) as happening:
        await anext(happening)

    assert (await staying)[-1].status == "ok"
