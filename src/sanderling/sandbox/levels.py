"""
The isolation levels: what stands between the code in a box and this machine, weakest first.

    zygote  namespaces, Landlock and a filter: the code speaks to the machine's own kernel
    gvisor  a kernel in user space as well: the code speaks to that one (`gvisor/`)
    vm      a virtual machine for each box; not offered

The operator names one (`isolation`), and a weakest one that will do (`min_isolation`). What was
named is tried when the host starts and is what runs, or nothing does: no level is ever chosen in
place of another.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

from sanderling.environments import preloads
from sanderling.errors import MachineUnfit, SanderlingError
from sanderling.sandbox.gvisor.maker import GvisorFacts, GvisorSpawner
from sanderling.sandbox.spawner import DEFAULT_PRELOAD, Spawner

LEVELS = ("zygote", "gvisor", "vm")
DEFAULT = LEVELS[0]
READ_ONLY = ("zygote",)  # those with boxes that code cannot write in
VM_REMEDY = "Give the whole server a virtual machine of its own, and choose zygote or gvisor in it."
_SPAWNERS = {"zygote": Spawner, "gvisor": GvisorSpawner}
_TRIAL_DISK_BYTES = 16 << 20


class Wanted(Protocol):
    """What a host has to know of the boxes it is to make: `options.HostOptions`."""

    @property
    def isolation(self) -> str: ...

    @property
    def min_isolation(self) -> str: ...

    @property
    def env(self) -> str: ...

    @property
    def disk_bytes(self) -> int: ...

    @property
    def logs_bytes_max(self) -> int: ...

    @property
    def egress_domains(self) -> str: ...

    @property
    def preload(self) -> str: ...


def check(isolation: str, min_isolation: str) -> None:
    """
    See to it that `isolation` is a level that we have, and not below `min_isolation`.

    Raises:
        MachineUnfit: it is not; says what to choose.
    """
    if isolation not in _SPAWNERS:
        raise MachineUnfit(
            f"Isolation {isolation!r} is not offered; there are "
            f"{' and '.join(repr(level) for level in _SPAWNERS)}. {VM_REMEDY}"
        )
    if LEVELS.index(isolation) < LEVELS.index(min_isolation):
        stronger = [
            level for level in _SPAWNERS if LEVELS.index(level) >= LEVELS.index(min_isolation)
        ]
        advice = f"Set isolation to {stronger[0]!r}." if stronger else f"None is. {VM_REMEDY}"
        raise MachineUnfit(
            f"Isolation {isolation!r} is weaker than {min_isolation!r}, the least that is wanted "
            f"here (min_isolation). {advice}"
        )


async def start(wanted: Wanted) -> Spawner:
    """
    Start what makes boxes of the level that was asked for; return when a box can be made.

    Raises:
        SetupError: there is no guest environment, or a module to preload is not in it.
        MachineUnfit: this machine, or this version, cannot give that level; says why.
    """
    check(wanted.isolation, wanted.min_isolation)
    asked = preloads.parse(wanted.preload)
    return await _SPAWNERS[wanted.isolation].start(
        env=Path(wanted.env),
        disk_bytes=wanted.disk_bytes,
        logs_bytes_max=wanted.logs_bytes_max,
        preload=asked.modules(DEFAULT_PRELOAD),
        required=asked.required,
        has_egress=bool(wanted.egress_domains),
    )


async def try_gvisor(env: Path) -> tuple[str, str | None]:
    """
    Make a box behind gVisor and end it.

    Return what is to be told of it, and the reason why it is not available, if it is not.
    """
    began = time.monotonic()
    try:
        spawner = await GvisorSpawner.start(
            env=env, disk_bytes=_TRIAL_DISK_BYTES, logs_bytes_max=1024, preload=()
        )
    except SanderlingError as error:
        return "not available", error.message
    try:
        assert isinstance(spawner.facts, GvisorFacts)
        took_ms = (time.monotonic() - began) * 1000
        facts = spawner.facts
        return (
            f"runsc {facts.runsc} on {facts.platform}; a box was restored in {took_ms:.0f} ms",
            None,
        )
    finally:
        await spawner.close()
