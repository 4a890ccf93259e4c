"""What `sanderling env measure` does: a zygote of its own, one box, and what they cost."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from rich.table import Table

from sanderling.cli import terminal
from sanderling.environments import locate, preloads
from sanderling.environments.catalog import DEFAULT, Catalog
from sanderling.sandbox.base import BoxLimits
from sanderling.sandbox.spawner import DEFAULT_PRELOAD, Spawner, ZygoteFacts
from sanderling.settings import Settings

_MIB = 1 << 20
_DISK_BYTES = 16 << 20
_BOX_MEMORY_BYTES = 1 << 30
# What a process has for itself: pages that it wrote. Others that it alone maps at this moment are
# the zygote's, in a file in memory (`kernel/heap.py`).
_PRIVATE = re.compile(r"^Private_Dirty:\s+(\d+) kB$", re.MULTILINE)
_RESIDENT = re.compile(r"^Rss:\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Measured:
    """
    zygote_bytes: what the zygote takes. box_bytes: what a box that has run one cell takes beside.
    None: this user may not look.
    """

    name: str
    facts: ZygoteFacts
    zygote_bytes: int | None
    box_bytes: int | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "python": self.facts.python,
            "preload_ms": self.facts.preload_ms,
            "modules": [
                {"name": name, "ms": ms, "bytes": bytes} for name, ms, bytes in self.facts.costs
            ],
            "missing": list(self.facts.missing),
            "zygote_bytes": self.zygote_bytes,
            "box_bytes": self.box_bytes,
        }


async def measure(settings: Settings, name: str) -> Measured:
    """
    Start a zygote on the environment `name` as a server would, and make a box.

    Raises:
        SetupError: there is none, or a module that must be there is not.
        MachineUnfit, SpawnFailed, MachineFull: no box can be made.
    """
    folder, listed = _environment(settings, name)
    asked = preloads.parse(listed)
    spawner = await Spawner.start(
        env=folder,
        disk_bytes=_DISK_BYTES,
        logs_bytes_max=1 << 16,
        preload=asked.modules(DEFAULT_PRELOAD),
        required=asked.required,
    )
    try:
        box = await spawner.spawn()
        try:
            await box.configure(BoxLimits(_BOX_MEMORY_BYTES))
            async for _ in box.run_cell("1 + 1"):
                pass
            zygote_bytes = _bytes_of(_zygote_pid(spawner.pid), _RESIDENT)
            return Measured(name, spawner.facts, zygote_bytes, _bytes_of(box.pid, _PRIVATE))
        finally:
            box.kill()
            await box.wait_dead()
            box.release()
    finally:
        await spawner.close()


def _environment(settings: Settings, name: str) -> tuple[Path, str]:
    """Return the folder of an environment and its preload list."""
    if name == DEFAULT:
        return locate.find(settings.env).path, settings.preload
    there = Catalog(settings.environments_folder)
    return there.path(name), there.get(name).record.preload or ""


def _zygote_pid(pid: int) -> int:
    """Return the zygote proper, a child of the process that was started, which waits for it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else pid


def _bytes_of(pid: int, wanted: re.Pattern[str]) -> int | None:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    return sum(map(int, wanted.findall(rollup))) * 1024


def show(measured: Measured, to: TextIO) -> None:
    """Print the table, slowest module first."""
    table = Table("module", box=None, pad_edge=False)
    table.add_column("ms", justify="right")
    table.add_column("MiB", justify="right")
    for name, ms, bytes in sorted(measured.facts.costs, key=lambda cost: -cost[1]):
        table.add_row(name, f"{ms:,.0f}", f"{bytes / _MIB:,.1f}")
    console = terminal.console(to)
    console.print(table)
    if measured.facts.missing:
        console.print(f"not installed: {', '.join(measured.facts.missing)}")
    console.print(
        f"all of it: {measured.facts.preload_ms:,.0f} ms, once; the zygote has "
        f"{_mebibytes(measured.zygote_bytes)}, a box {_mebibytes(measured.box_bytes)} of its own"
    )


def _mebibytes(bytes: int | None) -> str:
    return "an unknown amount" if bytes is None else f"{bytes / _MIB:,.1f} MiB"
