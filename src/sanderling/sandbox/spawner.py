"""
Starts the zygote and has it fork boxes: the host's side of how the wall is built.

The order inside is `wall/zygote.py`. Here: which uid a box gets, the descriptors it starts with,
its control group, and a look from outside (`verify.py`) before anybody may use it. A box that
fails any of this is killed and reported; none is ever handed out half sealed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import secrets
import select
import signal
import socket
import subprocess
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sanderling.environments.locate import find as find_environment
from sanderling.errors import MachineFull, SpawnFailed
from sanderling.kernel.limits import PROCESSES_MAX
from sanderling.observe import logs
from sanderling.records import MEMORY_TIER_BYTES
from sanderling.sandbox import cgroup, pipes, uids, verify
from sanderling.sandbox.box import Box, Descriptors, Handles
from sanderling.sandbox.group import Group
from sanderling.sandbox.wall.identity import Uids
from sanderling.sandbox.zygotes import launch, plan_for, receive

_USUAL_MEMORY_BYTES = MEMORY_TIER_BYTES["1g"]  # the tier of whoever names none
SPAWN_DEADLINE_S = 15.0  # a box takes 8 ms; a loaded machine gets all the time it needs
_END_AGAIN_S = 0.1
INODES_MAX = 100_000  # files and folders in one box

DEFAULT_PRELOAD = (
    "numpy",
    "pandas",
    "matplotlib.pyplot",
    "scipy.stats",
    "scipy.optimize",
    "sklearn.linear_model",
    "sklearn.ensemble",
    "PIL.Image",
    "openpyxl",
    "sympy",  # 0.6 s to import, 0.1 MiB per box; the first thing a math question needs
)

_ZYGOTE = "sanderling.sandbox.wall.zygote"


@dataclass(frozen=True)
class ZygoteFacts:
    """What the zygote said of itself, and what the machine offers it."""

    python: str
    modules: tuple[str, ...]
    preload_ms: float
    landlock_abi: int
    cgroups: cgroup.Kind
    uids: Uids
    uids_weakness: str | None  # why boxes share the host's uid, where they do
    uids_remedy: str | None
    soft_limits: tuple[str, ...]  # what no control group holds here
    missing: tuple[str, ...] = ()  # of the modules to preload, those that are not installed
    costs: tuple[tuple[str, float, int], ...] = ()  # module, ms, bytes it made the zygote grow by


class Spawner:
    """One zygote and the boxes it has forked. All methods belong to one event loop."""

    _pids_max = PROCESSES_MAX
    _spawn_deadline_s = SPAWN_DEADLINE_S

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        control: socket.socket,
        cgroups: cgroup.Cgroups,
        facts: ZygoteFacts,
        box_uids: uids.BoxUids,
        *,
        disk_bytes: int,
        logs_bytes_max: int,
        has_egress: bool,
    ) -> None:
        self.facts = facts
        self._process = process
        self._control = control
        self._cgroups = cgroups
        self._disk_bytes = disk_bytes
        self._logs_bytes_max = logs_bytes_max
        self._handles = 6 if has_egress else 5  # what a new place gives: docs/protocol.md, §2
        self._turn = asyncio.Lock()
        self._uids = box_uids
        # Hosts of one user share the range; they begin far from each other.
        self._number = secrets.randbelow(box_uids.count or 1)
        self._boxes: weakref.WeakValueDictionary[int, Box] = weakref.WeakValueDictionary()
        # Its hang-up is the first sign of the zygote's death, and for nothing else is watched.
        self._hang_up = select.epoll()
        self._hang_up.register(control.fileno(), 0)
        asyncio.get_running_loop().add_reader(self._hang_up.fileno(), self._on_hang_up)

    def _on_hang_up(self) -> None:
        """The zygote is dying, and waits for its boxes, which cannot die while they are frozen."""
        self._stop_watching()
        self._end_boxes()

    def _end_boxes(self) -> None:
        """Until the zygote is gone: a box may have been frozen just after the last time."""
        self._cgroups.end()
        if self.is_alive:
            asyncio.get_running_loop().call_later(_END_AGAIN_S, self._end_boxes)

    def _stop_watching(self) -> None:
        if not self._hang_up.closed:
            asyncio.get_running_loop().remove_reader(self._hang_up.fileno())
            self._hang_up.close()

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
        Start a zygote on the guest environment `env` and wait until it is warm.

        required: of `preload`, the modules that must be there; others are reported as missing.
        has_egress: each box comes with the listener of `wall/egress.py`.

        Raises:
            SetupError: there is no guest environment at `env`, or no required module in it.
            MachineUnfit: this machine refuses a part of the wall; says which.
        """
        environment = find_environment(env)
        box_uids = uids.choose()
        asked = functools.partial(
            plan_for, environment, preload, required=required, has_egress=has_egress
        )
        try:
            plan = asked(box_uids)
            process, control, facts = await launch(environment.python, _ZYGOTE, plan, box_uids)
        except uids.Refused as refused:
            box_uids = uids.single(refused)
            plan = asked(box_uids)
            process, control, facts = await launch(environment.python, _ZYGOTE, plan, box_uids)
        logs.info(
            "zygote.ready",
            pid=process.pid,
            uids=box_uids.kind,
            reason=box_uids.weakness,
            environment=environment.path.name,
            duration_ms=facts["preload_ms"],
            missing=", ".join(facts["missing"]) or None,
        )
        cgroups = await asyncio.to_thread(cgroup.find, cgroup.host_folder())
        return cls(
            process,
            control,
            cgroups,
            ZygoteFacts(
                python=facts["python"],
                modules=tuple(facts["modules"]),
                missing=tuple(facts["missing"]),
                costs=tuple(map(tuple, facts["costs"])),
                preload_ms=facts["preload_ms"],
                landlock_abi=facts["landlock"],
                cgroups=cgroups.kind,
                soft_limits=cgroups.soft_limits,
                uids=box_uids.kind,
                uids_weakness=box_uids.weakness,
                uids_remedy=box_uids.remedy,
            ),
            box_uids,
            disk_bytes=disk_bytes,
            logs_bytes_max=logs_bytes_max,
            has_egress=has_egress,
        )

    @property
    def pid(self) -> int:
        """The process to watch: when it ends, the zygote and all its boxes have ended."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the zygote still runs. When it does not, all its boxes are dead."""
        return self._process.poll() is None

    async def spawn(self, *, read_only: bool = False) -> Box:
        """
        Fork a fresh box: sealed, looked at from outside, not yet configured.

        read_only: its code can write no file.

        Raises:
            SpawnFailed: a part of the wall could not be built.
            MachineFull: the machine has no memory or processes left to fork with.
        """
        return await self._fork(self._next_uid(), None, read_only=read_only)

    async def respawn(self, dead: Box) -> Box:
        """
        Put a new kernel into the namespaces of a dead box: /mnt/data is kept. `dead` is used up.

        Raises:
            SpawnFailed, MachineFull: as `spawn`; then `dead` is released and its files are gone.
        """
        assert dead.is_dead
        handles = dead.hand_over()
        try:
            return await self._fork(dead.guest_uid, handles, read_only=dead.is_read_only)
        except BaseException:
            handles.close()
            raise

    async def close(self) -> None:
        """End the zygote; every box dies with it."""
        self._stop_watching()
        self._control.close()
        if self.is_alive:
            self._process.kill()
        # A zygote cannot end before its boxes have, nor those that are frozen before this.
        await asyncio.to_thread(self._cgroups.end)
        await asyncio.to_thread(self._process.wait)
        await asyncio.to_thread(self._cgroups.close)

    @property
    def _beside_tier(self) -> int:
        """Bytes that the control group of a box allows beside the memory of its code."""
        return self._disk_bytes

    def _next_uid(self) -> int:
        """A number that no living box has; 0 where all boxes have the zygote's uid."""
        if self._uids.count == 0:
            return 0
        for _ in range(self._uids.count):
            self._number = self._number % self._uids.count + 1
            if self._number not in self._boxes:
                return self._number
        raise MachineFull(f"All {self._uids.count} uids for boxes are in use.")

    async def _let_in(self, _ours: Descriptors, _joining: asyncio.Future[None] | None) -> None:
        """What a forked box waits for before it builds itself: here nothing."""

    def _check_wall(self, pid: int, uid: int, *, read_only: bool) -> None:
        """Look at the new box from outside. Raises SpawnFailed."""
        verify.check_wall(pid, uid=self._uids.on_machine(uid))
        if read_only:
            verify.check_read_only(pid)

    async def _fork(self, uid: int, handles: Handles | None, *, read_only: bool) -> Box:
        """`handles` of a dead box to step into, or None to make a new place."""
        try:
            ours, theirs = _descriptors()
        except OSError as error:
            raise MachineFull(f"No further box can be forked now: {error}") from error
        box_name = secrets.token_hex(8)
        group: Group | None = None
        doors: list[int] = []
        try:
            group = self._cgroups.create(box_name, pids_max=self._pids_max)
            doors = self._doors(group) if group is not None else []
            request = self._request(uid, doors, read_only=read_only)
            pid, pidfd = await self._ask(request, theirs + doors, handles)
        except BaseException as error:
            ours.close()
            if group is not None:
                await asyncio.to_thread(group.remove)
            if isinstance(error, OSError):
                raise SpawnFailed(f"A new box could not be built: {error}") from error
            raise
        finally:
            for fd in (*theirs, *doors):
                os.close(fd)
        made: Handles | None = None
        joining: asyncio.Future[None] | None = None
        try:
            if group is not None:
                moving = asyncio.to_thread(self._join, group, None if doors else pid)
                joining = asyncio.ensure_future(moving)
            async with asyncio.timeout(self._spawn_deadline_s):
                await self._let_in(ours, joining)
                expected = self._handles if handles is None else 0
                made = await _until_ready(ours.socket, expected)
            if joining is not None:
                await joining
            self._check_wall(pid, uid, read_only=read_only)
            if group is not None and not group.holds(pid):
                raise SpawnFailed("The new box is not in its control groups.")
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)
            ours.close()
            if made is not None:
                made.close()
            if joining is not None:
                await asyncio.wait([joining])
            if group is not None:
                await asyncio.to_thread(group.remove)
            if isinstance(error, TimeoutError):
                limit = f"{self._spawn_deadline_s:.0f} s"
                raise SpawnFailed(f"A new box was not ready after {limit}.") from error
            if isinstance(error, OSError):
                raise SpawnFailed(f"A new box could not be built: {error}") from error
            raise
        kept = made or handles
        assert kept is not None
        box = Box(
            box_name,
            pid=pid,
            pidfd=pidfd,
            descriptors=ours,
            handles=kept,
            group=group,
            guest_uid=uid,
            file_owner=self._uids.file_owner(uid),
            logs_bytes_max=self._logs_bytes_max,
            disk_bytes=self._beside_tier,
            overhead_bytes=self._beside_tier - self._disk_bytes,
            is_read_only=read_only,
        )
        if uid:
            self._boxes[uid] = box
        return box

    def _doors(self, group: Group) -> list[int]:
        """What a forked box enters its groups by itself with, as far as it can."""
        return group.doors()

    def _join(self, group: Group, pid: int | None) -> None:
        """Move a new box into its group if it is given, and set the limits that most ask for."""
        if pid is not None:
            group.add(pid)  # can wait 10 ms for the machine; the box boots meanwhile
        group.limit(memory_bytes=_USUAL_MEMORY_BYTES + self._beside_tier, cpu_count=None)

    def _request(self, uid: int, doors: list[int], *, read_only: bool) -> dict[str, Any]:
        return {
            "uid": uid,
            "disk_bytes": self._disk_bytes,
            "inodes": INODES_MAX,
            "doors": len(doors),
            "read_only": read_only,
        }

    async def _ask(
        self, request: dict[str, Any], given: list[int], handles: Handles | None
    ) -> tuple[int, int]:
        """Have the zygote fork; return the machine's number of the new process and its pidfd."""
        # Shielded: an answer that nobody waited for would be taken for the next request's.
        exchange = asyncio.ensure_future(self._exchange(request, given, handles))
        try:
            pidfd = await asyncio.shield(exchange)
        except asyncio.CancelledError:
            exchange.add_done_callback(_discard)
            raise
        return _pid_of(pidfd), pidfd

    async def _exchange(
        self, request: dict[str, Any], given: list[int], handles: Handles | None
    ) -> int:
        # Duplicates, so that a caller who gives up may close its own at once.
        fds = _duplicates(given + (handles.namespaces if handles is not None else []))
        async with self._turn:
            try:
                socket.send_fds(self._control, [json.dumps(request).encode()], fds)
                message, received = await receive(self._control)
            except (OSError, ConnectionError) as error:
                raise SpawnFailed("The zygote is gone; no box can be forked.") from error
            finally:
                for fd in fds:
                    os.close(fd)
        if "error" in message:
            raise MachineFull(f"No further box can be forked now: {message['error']}")
        [pidfd] = received
        return pidfd


async def _until_ready(control: socket.socket, expected: int) -> Handles | None:
    """Wait for a new box: `expected` handles first, if it makes its own place, then `ready`."""
    made: Handles | None = None
    try:
        while True:
            message, fds = await receive(control)
            match message.get("op"):
                case "built" if expected and made is None and len(fds) == expected:
                    made = Handles(fds[0], fds[1:5], next(iter(fds[5:]), None))
                case "ready" if bool(expected) == (made is not None) and not fds:
                    return made
                case "failed":
                    raise SpawnFailed(f"A new box could not be built: {message.get('message')}")
                case _:
                    for fd in fds:
                        os.close(fd)
                    raise SpawnFailed(f"A new box said {message.get('op')!r} before it was ready.")
    except (ConnectionError, ValueError) as error:
        if made is not None:
            made.close()
        raise SpawnFailed(f"A new box ended before it was ready ({error}).") from error
    except BaseException:
        if made is not None:
            made.close()
        raise


def _descriptors() -> tuple[Descriptors, list[int]]:
    """Return the host's ends, and the kernel's ends in the order the zygote expects."""
    (out, err), ends = pipes.make()
    try:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except OSError:
        for fd in (out, err, *ends):
            os.close(fd)
        raise
    ours.setblocking(False)
    return Descriptors(ours, out, err), [theirs.detach(), *ends]


def _duplicates(fds: list[int]) -> list[int]:
    """Raises MachineFull: this process has no descriptors left."""
    made: list[int] = []
    try:
        for fd in fds:
            made.append(os.dup(fd))  # noqa: PERF401 - on an error, those made must be closed
    except OSError as error:
        for fd in made:
            os.close(fd)
        raise MachineFull(f"No further box can be forked now: {error}") from error
    return made


def _discard(exchange: asyncio.Future[int]) -> None:
    if not exchange.cancelled() and exchange.exception() is None:
        os.close(exchange.result())


def _pid_of(pidfd: int) -> int:
    for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines():
        if line.startswith("Pid:"):
            return int(line.split()[1])
    raise SpawnFailed("The new process has no number.")
