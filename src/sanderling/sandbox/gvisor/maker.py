"""
Boxes behind gVisor: the host's side of how they are made.

The agent (`agent.py`) is to this what the zygote is to `spawner.py`, and all of that class holds
here: descriptors, control groups, births, respawns and ends. Different are the program that is
started, what a new box waits for (its control group must be around it before runsc starts the
processes of the box), and what is looked at from outside.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from sanderling.environments.locate import find as find_environment
from sanderling.errors import MachineUnfit, SandboxError
from sanderling.observe import logs
from sanderling.sandbox import cgroup, uids
from sanderling.sandbox.box import Box, Descriptors
from sanderling.sandbox.group import Group
from sanderling.sandbox.gvisor import look
from sanderling.sandbox.spawner import DEFAULT_PRELOAD, Spawner, ZygoteFacts
from sanderling.sandbox.wall import identity
from sanderling.sandbox.zygotes import launch, plan_for

# What a box takes of its control group beside its tier: gVisor's kernel and file server, the warm
# libraries, which every box restores for itself (275 MB together), and what the bound inside allows
# beyond the tier (`kernel/limits.py`), so that MemoryError comes before the end.
OVERHEAD_BYTES = 768 << 20
# The machine counts several for one thread of the box: gVisor's own, and what the platform lends
# it. The box's limit (`wall/rlimits.py`), which gVisor keeps, answers long before this one.
PIDS_MAX = 4096
START_DEADLINE_S = 120.0  # 10 s on a quiet machine
SPAWN_DEADLINE_S = 60.0  # 0.8 s; a dozen processes and threads start, which a full machine queues
_CONTROLLERS = ("memory", "pids", "freezer")
_AGENT = "sanderling.sandbox.gvisor.agent"


@dataclass(frozen=True, kw_only=True)
class GvisorFacts(ZygoteFacts):
    """
    What the agent said of itself.

    platform: how runsc runs the box's code (systrap, ptrace).
    """

    runsc: str
    platform: str


class GvisorSpawner(Spawner):
    """One agent and the boxes it has had restored. All methods belong to one event loop."""

    _pids_max = PIDS_MAX
    _spawn_deadline_s = SPAWN_DEADLINE_S

    @classmethod
    async def start(
        cls,
        *,
        env: Path,
        disk_bytes: int,
        logs_bytes_max: int,
        preload: tuple[str, ...] = DEFAULT_PRELOAD,
        required: tuple[str, ...] = (),
        has_egress: bool = False,
    ) -> Spawner:
        """
        Start an agent on the guest environment `env`, wait for its checkpoint, and try it.

        Raises:
            SetupError: there is no guest environment at `env`.
            MachineUnfit: gVisor cannot be used here; says why.
        """
        runsc = find_runsc()
        if has_egress:
            raise MachineUnfit(
                "Boxes behind gVisor have no network at all: egress_domains needs isolation zygote."
            )
        environment = find_environment(env)
        box_uids = uids.choose()
        plan = plan_for(environment, preload, box_uids, required=required, has_egress=False)
        plan.visible.append(str(runsc))
        process, control, facts = await launch(
            Path(sys.executable),
            _AGENT,
            plan,
            box_uids,
            *(str(environment.python), str(runsc)),
            name="gVisor's checkpoint",
            deadline_s=START_DEADLINE_S,
        )
        cgroups = await asyncio.to_thread(cgroup.find, cgroup.host_folder())
        made = cls(
            process,
            control,
            cgroups,
            GvisorFacts(
                python=facts["python"],
                modules=tuple(facts["modules"]),
                missing=tuple(facts["missing"]),
                costs=tuple(map(tuple, facts["costs"])),
                preload_ms=facts["preload_ms"],
                landlock_abi=0,
                cgroups=cgroups.kind,
                soft_limits=cgroups.soft_limits,
                uids=box_uids.kind,
                uids_weakness=box_uids.weakness,
                uids_remedy=box_uids.remedy,
                runsc=facts["runsc"],
                platform=facts["platform"],
            ),
            box_uids,
            disk_bytes=disk_bytes,
            logs_bytes_max=logs_bytes_max,
            has_egress=False,
        )
        try:
            _require_groups(cgroups)
            await made.try_out()
        except BaseException as error:
            await made.close()
            if isinstance(error, SandboxError) and not isinstance(error, MachineUnfit):
                raise MachineUnfit(f"gVisor made no usable box: {error.message}") from error
            raise
        logs.info(
            "gvisor.ready", pid=process.pid, version=facts["runsc"], platform=facts["platform"]
        )
        return made

    async def spawn(self, *, read_only: bool = False) -> Box:
        """See `Spawner.spawn`. Raises MachineUnfit: no such box is read-only."""
        if read_only:
            raise MachineUnfit("Boxes behind gVisor cannot be kept from writing files.")
        return await super().spawn()

    async def try_out(self) -> None:
        """Make a box and end it. Raises SpawnFailed, MachineFull."""
        box = await self.spawn()
        box.kill()
        await box.wait_dead()
        box.release()

    @property
    def _beside_tier(self) -> int:
        return self._disk_bytes + OVERHEAD_BYTES

    def _next_uid(self) -> int:
        # The same for all: what the machine sees of a box is runsc, as nobody.
        return identity.GUEST_UID

    def _doors(self, _group: Group) -> list[int]:
        return []  # it starts other processes: the host moves it, and only then lets it begin

    async def _let_in(self, ours: Descriptors, joining: asyncio.Future[None] | None) -> None:
        if joining is not None:
            await joining
        # Opened anew, as the host's own ends must not be the box's to change.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        fds = [os.open(f"/proc/self/fd/{fd}", flags) for fd in (ours.out, ours.err)]
        fds += os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        *read_ends, interrupts = fds
        try:
            socket.send_fds(ours.socket, [b'{"op": "enter"}\n'], [interrupts])
            socket.send_fds(ours.socket, [b'{"op": "begin"}\n'], read_ends)
        finally:
            for fd in fds:
                os.close(fd)

    def _check_wall(self, pid: int, _uid: int, *, read_only: bool) -> None:
        assert not read_only
        look.check_box(pid)


def _require_groups(groups: cgroup.Cgroups) -> None:
    """
    See to it that the box as a whole is bounded and can be stopped.

    Raises:
        MachineUnfit: a controller is missing: what signals and a watchdog do for forked boxes, they
            cannot do for processes that gVisor traces.
    """
    missing = [name for name in _CONTROLLERS if name in groups.missing]
    if missing:
        raise MachineUnfit(
            f"gVisor boxes need control groups, and there are none for {', '.join(missing)} that "
            "this process may use. Start the server where it may make control groups."
        )


def find_runsc() -> Path:
    """
    Return gVisor's program, where this user may use it for boxes.

    Raises:
        MachineUnfit: there is none, or this user cannot; says what to do.
    """
    found = shutil.which("runsc")
    if found is None:
        raise MachineUnfit(
            "gVisor is not installed: there is no program `runsc`. On Debian and Ubuntu: "
            "apt-get install runsc"
        )
    if os.geteuid() != 0:
        raise MachineUnfit(
            "gVisor boxes need a sandbox host that runs as root: runsc restores checkpoints for "
            "nobody else. Start the server as root, or use isolation zygote."
        )
    return Path(os.path.realpath(found))
