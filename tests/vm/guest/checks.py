"""
What must hold in a virtual machine: run there, as the user and in the control group to be tried.

    python -m tests.vm.guest.checks KIND [TEXT]

KIND is what the machine must offer: v1, v2, delegated, none. TEXT picks the checks with it in their
names.

The sandbox is this process's own, so that its boxes can be looked at from outside: in /proc and in
the files of their control groups. Each check says what holds in its name; the exit code is how many
failed.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from sanderling.sandbox import zygotes
from sanderling.sandbox.base import BoxLimits, Ended, Logs, Result
from sanderling.sandbox.local import LocalSandbox
from sanderling.sandbox.options import HostOptions
from sanderling.sandbox.spawner import Spawner
from tests.promises import probes

ENV = Path("/opt/env")
MIB = 1 << 20
DISK_BYTES = 64 * MIB
LIMITS = BoxLimits(memory_bytes=256 * MIB, cpu_count=0.5)
# The emulated machine is 20 times slower than a real one.
CELL_S, PATIENCE_S = 240.0, 120.0
zygotes.START_DEADLINE_S = 600.0
OPTIONS = HostOptions(
    env=str(ENV), disk_bytes=DISK_BYTES, logs_bytes_max=MIB, pool_size=0, boxes_max=8
)
FILL = """\
import os
def fill(megabytes):
    filled = bytearray(megabytes << 20)
    for page in range(0, len(filled), 4096):
        filled[page] = 1
    return filled
children = []
for _ in range(4):
    if (child := os.fork()) == 0:
        kept = fill(180)
        os.kill(os.getpid(), 19)  # SIGSTOP: keep what is filled
        os._exit(0)
    children.append(child)
print([os.waitpid(-1, os.WUNTRACED)[1] for _ in children])
"""
TICKING = """\
import threading, time
ticks = 0
def tick():
    global ticks
    while True:
        ticks += 1
threading.Thread(target=tick, daemon=True).start()
while ticks == 0:
    time.sleep(0.01)
"""
SPINNING = """\
import time
began, used = time.monotonic(), time.process_time()
while time.monotonic() < began + 6:
    pass
print((time.process_time() - used) / (time.monotonic() - began))
"""
# A host that makes one box with a thread that ticks, says so, and waits to be killed.
DOOMED = """\
import asyncio
from tests.vm.guest import checks
asyncio.run(checks.be_doomed())
"""

Check = Callable[["Bench"], Awaitable[None]]
CHECKS: list[tuple[str, tuple[str, ...], Check]] = []
GROUPS = ("v1", "v2", "delegated")
EVERYWHERE = (*GROUPS, "none")


def check(name: str, kinds: tuple[str, ...] = EVERYWHERE) -> Callable[[Check], Check]:
    def keep(function: Check) -> Check:
        CHECKS.append((name, kinds, function))
        return function

    return keep


class Bench:
    """A sandbox, and what checks do with it."""

    def __init__(self, kind: str, sandbox: LocalSandbox) -> None:
        self.kind = kind
        self.sandbox = sandbox
        self.box_id = ""
        self._count = 0

    async def fresh(self) -> None:
        """Go on with a container of its own."""
        self._count += 1
        self.box_id = f"cntr_{self._count}"
        await self.sandbox.create(self.box_id, LIMITS)

    async def run(self, code: str, timeout_s: float = CELL_S) -> tuple[str, Ended]:
        """Run a cell; return what it printed or resulted in, and its end."""
        self._count += 1
        shown: list[str] = []
        stream = self.sandbox.execute(self.box_id, f"e{self._count}", code, timeout_s=timeout_s)
        async for happening in stream:
            match happening:
                case Logs(_, text) | Result(text):
                    shown.append(text)
                case Ended():
                    return "".join(shown).strip(), happening
                case other:
                    shown.append(f"[{other}]")
        raise AssertionError("no end")

    @property
    def box(self) -> Any:
        keeper = self.sandbox._keepers[self.box_id]
        return keeper._box

    def group(self, controller: str = "memory") -> Path:
        """Return the folder of the box's control group, as the machine tells it."""
        if self.kind == "v1":
            mount = f"/sys/fs/cgroup/{controller}"
        else:
            mount, controller = "/sys/fs/cgroup", ""
        for line in Path(f"/proc/{self.box.pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                return Path(mount + path)
        raise AssertionError(f"no {controller} group")

    def value(self, name: str) -> str:
        return (self.group() / name).read_text().strip()


def cpu_ticks(pid: int) -> int:
    """Processor time of a process and its threads so far, in 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


async def until(condition: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert condition(), what


def ours() -> list[Path]:
    """Every folder that hosts of Sanderling have in a control group hierarchy."""
    found = subprocess.run(
        ["find", "/sys/fs/cgroup", "-type", "d", "-name", "sanderling-host-*"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return [Path(line) for line in found.stdout.splitlines()]


# ---- the checks --------------------------------------------------------------------------------


@check("the machine offers what is expected")
async def _(bench: Bench) -> None:
    status = await bench.sandbox.status()
    facts = bench.sandbox._pool.facts
    print("    ", facts)
    assert status.cgroups == bench.kind, status.cgroups


@check("a cell runs, and imports what it wants")
async def _(bench: Bench) -> None:
    shown, ended = await bench.run("import numpy\nint(numpy.array([20, 22]).sum())")
    assert (shown, ended.status) == ("42", "ok"), (shown, ended)


@check("the limits are written into the box's group", ("v2", "delegated"))
async def _(bench: Bench) -> None:
    found = {n: bench.value(n) for n in ("memory.max", "memory.oom.group", "pids.max", "cpu.max")}
    swap = bench.group() / "memory.swap.max"
    print("    ", bench.group(), found)
    assert int(found["memory.max"]) == LIMITS.memory_bytes + DISK_BYTES
    assert found["memory.oom.group"] == "1"
    assert found["cpu.max"] == "50000 100000"
    assert 0 < int(found["pids.max"]) <= 4096
    assert not swap.exists() or swap.read_text().strip() == "0"
    assert str(bench.box.pid) in bench.value("cgroup.procs").split()


@check("a box gets half a processor when half was given", GROUPS)
async def _(bench: Bench) -> None:
    shown, ended = await bench.run(SPINNING)
    assert ended.status == "ok", ended
    print("    ", "share", shown)
    assert 0.2 < float(shown) < 0.7, shown
    if bench.kind != "v1":
        throttled = re.search(r"nr_throttled (\d+)", bench.value("cpu.stat"))
        assert throttled is not None, bench.value("cpu.stat")
        assert int(throttled[1]) > 0


@check("the group counts and bounds processes", GROUPS)
async def _(bench: Bench) -> None:
    folder = bench.group("pids")
    before = (folder / "pids.max").read_text()
    (folder / "pids.max").write_text("8")
    code = (
        "import os\nmade = []\ntry:\n    while True:\n"
        "        if (p := os.fork()) == 0:\n            __import__('signal').pause()\n"
        "        made.append(p)\nexcept OSError as error: print(error.errno, len(made) < 8)\n"
        "for p in made: os.kill(p, 9); _ = os.waitpid(p, 0)"
    )
    shown, ended = await bench.run(code)
    (folder / "pids.max").write_text(before)
    assert shown.startswith("11 True"), (shown, ended)
    assert ended.status == "ok", ended


@check("processes that need too much together are stopped with a plain sentence, files kept")
async def _(bench: Bench) -> None:
    await bench.fresh()
    await bench.run("x = 1\n_ = open('kept', 'w').write('kept')")
    shown, ended = await bench.run(FILL)
    print("    ", ended.status, ended.notice)
    # Groups of the first version cannot end a box as a whole: the machine chose some children.
    is_whole = bench.kind != "v1" or ended.status != "ok"
    assert ended.status == ("out_of_memory" if is_whole else "ok"), (shown, ended)
    told = "needed more than its 256 MiB" if is_whole else "A process needed more than the 256 MiB"
    assert told in (ended.notice or ""), ended.notice
    shown, ended = await bench.run("print(open('kept').read(), 'x' in globals())")
    assert shown == f"kept {not is_whole}", (shown, ended)


@check("a single object that is too large is a MemoryError")
async def _(bench: Bench) -> None:
    shown, ended = await bench.run("bytearray(1 << 30)")
    assert ended.status == "error", ended
    assert "MemoryError" in shown, shown


@check("a cell past its time is stopped and keeps its variables")
async def _(bench: Bench) -> None:
    await bench.run("x = 1")
    _, ended = await bench.run("while True: pass", timeout_s=3.0)
    assert ended.status == "timed_out", ended
    shown, _ = await bench.run("x")
    assert shown == "1", shown


@check("between cells nothing of a box runs, and a cell lets it go on")
async def _(bench: Bench) -> None:
    await bench.fresh()
    await bench.run(TICKING)
    pid = bench.box.pid
    await until(lambda: bench.box.is_still, "the box does not stand still")
    before = cpu_ticks(pid)
    await asyncio.sleep(5.0)
    assert cpu_ticks(pid) == before, "it ticked"
    if bench.kind in {"v2", "delegated"}:
        assert "frozen 1" in bench.value("cgroup.events")
    shown, _ = await bench.run("import time\nbefore = ticks\ntime.sleep(1)\nticks > before")
    assert shown == "True", shown


@check("a box is closed while it stands still, and its group is gone")
async def _(bench: Bench) -> None:
    await bench.run(TICKING)
    await until(lambda: bench.box.is_still, "the box does not stand still")
    pid = bench.box.pid
    group = bench.group() if bench.kind != "none" else None
    await bench.sandbox.close(bench.box_id)
    bench.box_id = ""
    await until(lambda: not Path(f"/proc/{pid}").exists(), "it lives")
    if group is not None:
        await until(lambda: not group.exists(), "its group is there")


@check("a process that ends itself is replaced in the same group rules")
async def _(bench: Bench) -> None:
    await bench.fresh()
    await bench.run("_ = open('kept', 'w').write('kept')")
    _, ended = await bench.run("import os\nos._exit(3)")
    assert ended.status == "died", ended
    shown, ended = await bench.run("open('kept').read()")
    assert shown == "'kept'", (shown, ended)
    if bench.kind in {"v2", "delegated"}:
        assert int(bench.value("memory.max")) == LIMITS.memory_bytes + DISK_BYTES


@check("what a killed host left is swept by the next one")
async def _(bench: Bench) -> None:
    doomed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DOOMED, stdout=asyncio.subprocess.PIPE
    )
    assert doomed.stdout is not None
    box_pid = int((await doomed.stdout.readline()).split()[1])
    left = [folder for folder in ours() if f"-{doomed.pid}-" in folder.name]
    doomed.kill()
    await doomed.wait()
    if bench.kind != "none":
        assert left, "it had no groups"
    sandbox = LocalSandbox(OPTIONS, quick)
    await sandbox.open()
    try:
        await until(lambda: not Path(f"/proc/{box_pid}").exists(), "a box outlived its host")
        await until(lambda: not any(f.exists() for f in left), f"its groups are there: {left}")
        nested = [f for f in ours() if str(f).count("sanderling-self") > 1]
        assert not nested, nested
    finally:
        await sandbox.end()


@check("hostile cells get nothing, in boxes of a zygote that has loaded everything")
async def _(bench: Bench) -> None:
    answers = await probes.answer_all(ENV)
    print("    ", len(answers), "probes")
    failed = [
        f"{probe.promise}: {answer[-300:]!r}, then {afterwards[-200:]!r}"
        for probe in probes.PROBES
        if probe.applies
        for answer, afterwards in [answers[probe.promise]]
        if not re.fullmatch(probe.pattern, answer) or afterwards != probes.SURVIVED
    ]
    assert not failed, "\n      ".join(failed)


async def quick(options: HostOptions) -> Spawner:
    """A zygote that loads nothing: that takes the emulated machine most of a minute."""
    return await Spawner.start(
        env=Path(options.env),
        disk_bytes=options.disk_bytes,
        logs_bytes_max=options.logs_bytes_max,
        preload=(),
    )


async def be_doomed() -> None:
    """Make a box in which a thread ticks, let it stand still, print its number, wait."""
    sandbox = LocalSandbox(OPTIONS, quick)
    await sandbox.open()
    bench = Bench("", sandbox)
    await bench.fresh()
    await bench.run(TICKING)
    await until(lambda: bench.box.is_still, "the box does not stand still")
    print("box", bench.box.pid, flush=True)
    await asyncio.Event().wait()


async def main(kind: str, only: str) -> int:
    sandbox = LocalSandbox(OPTIONS, quick)
    await sandbox.open()
    bench = Bench(kind, sandbox)
    failed = 0
    for name, kinds, function in CHECKS:
        if kind not in kinds or only not in name:
            continue
        began = time.monotonic()
        try:
            if not bench.box_id:
                await bench.fresh()
            await function(bench)
        except Exception as error:  # noqa: BLE001 - the others are to be run as well
            failed += 1
            where = traceback.extract_tb(error.__traceback__)
            line = next((f.lineno for f in reversed(where) if f.filename == __file__), 0)
            print(f"FAILED  {name} (line {line}): {type(error).__name__}: {error}", flush=True)
        else:
            print(f"ok      {name} ({time.monotonic() - began:.1f} s)", flush=True)
    await sandbox.end()
    mine = [folder for folder in ours() if f"-{os.getpid()}-" in folder.name]
    if mine:
        failed += 1
        print(f"FAILED  groups are left after the end: {mine}")
    return failed


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], " ".join(sys.argv[2:]))))
