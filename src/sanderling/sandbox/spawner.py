"""
Starts the zygote and has it fork boxes: the host's side of how the wall is built.

The order inside is `wall/zygote.py`. Here: which uid a box gets, the descriptors it starts with,
its control group, and a look from outside (`verify.py`) before anybody may use it. A box that
fails any of this is killed and reported; none is ever handed out half sealed.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sanderling
from sanderling.environments.environment import Environment
from sanderling.environments.locate import find as find_environment
from sanderling.errors import MachineFull, MachineUnfit, SpawnFailed
from sanderling.sandbox import cgroup, verify
from sanderling.sandbox.box import Box, Descriptors, Handles
from sanderling.sandbox.wall import identity, linux
from sanderling.sandbox.wall.zygote import MESSAGE_BYTES_MAX, Plan

START_DEADLINE_S = 60.0  # importing everything takes 1.5 s on a quiet machine
SPAWN_DEADLINE_S = 15.0  # a box takes 8 ms; a loaded machine gets all the time it needs
INODES_MAX = 100_000  # files and folders in one box
GUEST_UID_FIRST = identity.GUEST_UID + 1
_GUEST_UIDS = 60_000  # of the 65,536 of the range
_FDS_MAX = 8

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
_BOOTSTRAP = (
    "import sys, importlib; _, root, module, control, *arguments = sys.argv; "
    "sys.path.insert(0, root); main = importlib.import_module(module).main; "
    "sys.path.remove(root); main(int(control), *arguments)"
)


@dataclass(frozen=True)
class ZygoteFacts:
    """What the zygote said of itself, and what the machine offers it."""

    python: str
    modules: tuple[str, ...]
    preload_ms: float
    landlock_abi: int
    cgroups: cgroup.Kind
    has_uid_range: bool


class Spawner:
    """One zygote and the boxes it has forked. All methods belong to one event loop."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        control: socket.socket,
        cgroups: cgroup.Cgroups,
        facts: ZygoteFacts,
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
        self._count = 0

    @classmethod
    async def start(
        cls,
        *,
        env: Path,
        disk_bytes: int,
        logs_bytes_max: int,
        preload: tuple[str, ...] = DEFAULT_PRELOAD,
        has_egress: bool = False,
    ) -> Spawner:
        """
        Start a zygote on the guest environment `env` and wait until it is warm.

        has_egress: each box comes with the listener of `wall/egress.py`.

        Raises:
            SetupError: there is no guest environment at `env`.
            MachineUnfit: this machine refuses a part of the wall; says which.
        """
        environment = find_environment(env)
        plan = plan_for(environment, preload, has_egress=has_egress)
        process, control, facts = await launch(environment.python, _ZYGOTE, plan, name="The zygote")
        cgroups = cgroup.find(cgroup.host_folder())
        return cls(
            process,
            control,
            cgroups,
            ZygoteFacts(
                python=facts["python"],
                modules=tuple(facts["modules"]),
                preload_ms=facts["preload_ms"],
                landlock_abi=facts["landlock"],
                cgroups=cgroups.kind,
                has_uid_range=plan.has_range,
            ),
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

    async def spawn(self) -> Box:
        """
        Fork a fresh box: sealed, looked at from outside, not yet configured.

        Raises:
            SpawnFailed: a part of the wall could not be built.
            MachineFull: the machine has no memory or processes left to fork with.
        """
        return await self._fork(self._next_uid(), None)

    async def respawn(self, dead: Box) -> Box:
        """
        Put a new kernel into the namespaces of a dead box: /mnt/data is kept. `dead` is used up.

        Raises:
            SpawnFailed, MachineFull: as `spawn`; then `dead` is released and its files are gone.
        """
        assert dead.is_dead
        handles = dead.hand_over()
        try:
            return await self._fork(dead.guest_uid, handles)
        except BaseException:
            handles.close()
            raise

    async def close(self) -> None:
        """End the zygote; every box dies with it."""
        self._control.close()
        if self.is_alive:
            self._process.kill()
        await asyncio.to_thread(self._process.wait)
        await asyncio.to_thread(self._cgroups.close)

    def _next_uid(self) -> int:
        """The uid of the next new box, as the zygote counts; 0: there is only one to give."""
        self._count += 1
        return GUEST_UID_FIRST + self._count % _GUEST_UIDS if self.facts.has_uid_range else 0

    async def _let_in(self, _ours: Descriptors, _joining: asyncio.Future[None] | None) -> None:
        """What a forked box waits for before it builds itself: here nothing."""

    def _check_wall(self, pid: int, uid: int) -> None:
        """Look at the new box from outside. Raises SpawnFailed."""
        verify.check_wall(pid, uid=identity.HOST_UID_FIRST + uid if uid else None)

    async def _fork(self, uid: int, handles: Handles | None) -> Box:
        """`handles` of a dead box to step into, or None to make a new place."""
        try:
            ours, theirs = _descriptors(identity.HOST_UID_FIRST + uid if uid else None)
        except OSError as error:
            raise MachineFull(f"No further box can be forked now: {error}") from error
        try:
            pid, pidfd = await self._ask(uid, theirs, handles)
        except BaseException:
            ours.close()
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        box_name = secrets.token_hex(8)
        group: cgroup.Group | None = None
        made: Handles | None = None
        joining: asyncio.Future[None] | None = None
        try:
            group = self._cgroups.create(box_name)
            if group is not None:
                # Moving a process can wait 10 ms for the machine; the box boots meanwhile.
                joining = asyncio.ensure_future(asyncio.to_thread(group.add, pid))
            async with asyncio.timeout(SPAWN_DEADLINE_S):
                await self._let_in(ours, joining)
                expected = self._handles if handles is None else 0
                made = await _until_ready(ours.socket, expected)
            if joining is not None:
                await joining
            self._check_wall(pid, uid)
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
                limit = f"{SPAWN_DEADLINE_S:.0f} s"
                raise SpawnFailed(f"A new box was not ready after {limit}.") from error
            if isinstance(error, OSError):
                raise SpawnFailed(f"A new box could not be built: {error}") from error
            raise
        kept = made or handles
        assert kept is not None
        return Box(
            box_name,
            pid=pid,
            pidfd=pidfd,
            descriptors=ours,
            handles=kept,
            group=group,
            guest_uid=uid,
            file_owner=(identity.HOST_UID_FIRST + uid,) * 2 if uid else None,
            logs_bytes_max=self._logs_bytes_max,
            disk_bytes=self._disk_bytes,
        )

    async def _ask(self, uid: int, theirs: list[int], handles: Handles | None) -> tuple[int, int]:
        """Have the zygote fork; return the machine's number of the new process and its pidfd."""
        # Shielded: an answer that nobody waited for would be taken for the next request's.
        exchange = asyncio.ensure_future(self._exchange(uid, theirs, handles))
        try:
            pidfd = await asyncio.shield(exchange)
        except asyncio.CancelledError:
            exchange.add_done_callback(_discard)
            raise
        return _pid_of(pidfd), pidfd

    async def _exchange(self, uid: int, theirs: list[int], handles: Handles | None) -> int:
        request = {"uid": uid, "disk_bytes": self._disk_bytes, "inodes": INODES_MAX}
        # Duplicates, so that a caller who gives up may close its own at once.
        fds = _duplicates(theirs + (handles.namespaces if handles is not None else []))
        async with self._turn:
            try:
                socket.send_fds(self._control, [json.dumps(request).encode()], fds)
                message, received = await _receive(self._control)
            except (OSError, ConnectionError) as error:
                raise SpawnFailed("The zygote is gone; no box can be forked.") from error
            finally:
                for fd in fds:
                    os.close(fd)
        if "error" in message:
            raise MachineFull(f"No further box can be forked now: {message['error']}")
        [pidfd] = received
        return pidfd


def plan_for(environment: Environment, preload: tuple[str, ...], *, has_egress: bool) -> Plan:
    """Return what is asked of a process that forks boxes on this guest environment."""
    return Plan(
        visible=[str(p) for p in environment.base_prefixes],
        path=f"{environment.path}/bin:/usr/local/bin:/usr/bin:/bin",
        mpl_config=str(environment.mpl_config) if environment.mpl_config.is_dir() else None,
        preload=list(preload),
        has_range=os.geteuid() == 0,
        uid=os.geteuid(),
        gid=os.getegid(),
        has_egress=has_egress,
    )


async def launch(
    python: Path, module: str, plan: Plan, *arguments: str, name: str
) -> tuple[subprocess.Popen[bytes], socket.socket, dict[str, Any]]:
    """
    Start the process that forks boxes, `main` of `module`, and wait until it is warm.

    Return it, our end of its control socket, and the facts it states of itself.

    Raises:
        MachineUnfit: this machine refuses a part of the wall; says which.
    """
    if not linux.IS_SUPPORTED:
        raise MachineUnfit(f"Boxes need an x86_64 or aarch64 machine, not {linux.MACHINE}.")
    control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        all_arguments = (json.dumps(asdict(plan)), *arguments)
        process = _start_process(python, module, theirs.fileno(), all_arguments)
    control.setblocking(False)
    try:
        async with asyncio.timeout(START_DEADLINE_S):
            facts = await _introduce(control, process.pid, has_range=plan.has_range)
    except (TimeoutError, MachineUnfit) as error:
        process.kill()
        process.wait()
        control.close()
        if isinstance(error, MachineUnfit):
            raise
        raise MachineUnfit(
            f"{name} was not ready after {START_DEADLINE_S:.0f} s; the machine is too busy "
            "or the guest environment is on a very slow disk."
        ) from error
    return process, control, facts


def _start_process(
    python: Path, module: str, control_fd: int, arguments: tuple[str, ...]
) -> subprocess.Popen[bytes]:
    package_root = str(Path(sanderling.__file__).parents[1])
    # -I: nothing of the operator's own Python settings; stdout and stderr are the host's log.
    command = [str(python), "-I", "-B", "-c", _BOOTSTRAP, package_root, module, str(control_fd)]
    return subprocess.Popen(
        [*command, *arguments],
        pass_fds=[control_fd],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        env={
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            # Read by libraries as they are loaded, which is before the zygote can set them.
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        },
        start_new_session=True,
    )


async def _introduce(control: socket.socket, pid: int, *, has_range: bool) -> dict[str, Any]:
    """Give the zygote its uids, wait until it is warm, and return the facts it states."""
    try:
        if has_range:
            message, _ = await _receive(control)
            _raise_unfit(message)
            for name in ("uid_map", "gid_map"):
                line = f"0 {identity.HOST_UID_FIRST} {identity.UID_COUNT}"
                Path(f"/proc/{pid}/{name}").write_text(line)
            control.send(b"mapped")
        message, _ = await _receive(control)
    except (OSError, ConnectionError) as error:
        raise MachineUnfit(
            f"The zygote ended before it was ready ({error}). Run `sanderling doctor`."
        ) from error
    _raise_unfit(message)
    return message


def _raise_unfit(message: dict[str, Any]) -> None:
    if "error" in message:
        raise MachineUnfit(
            f"The wall cannot be built on this machine: {message['error']}. "
            "Run `sanderling doctor` to see what is missing and how to mend it."
        )


async def _until_ready(control: socket.socket, expected: int) -> Handles | None:
    """Wait for a new box: `expected` handles first, if it makes its own place, then `ready`."""
    made: Handles | None = None
    try:
        while True:
            message, fds = await _receive(control)
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


def _descriptors(owner: int | None) -> tuple[Descriptors, list[int]]:
    """
    Return the host's ends, and the kernel's ends in the order the zygote expects.

    owner: the box's uid on this machine if it is not our own: the pipes are given to it, so that
        programs which open /dev/stdout by name may.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    out_read, out_write = os.pipe2(os.O_CLOEXEC)
    err_read, err_write = os.pipe2(os.O_CLOEXEC)
    for fd in (out_read, err_read):
        os.set_blocking(fd, False)
        if owner is not None:
            os.fchown(fd, owner, owner)
    ours.setblocking(False)
    # Opened anew, not duplicated: O_NONBLOCK belongs to what was opened, and the kernel, which may
    # take it away from its own, must not be able to make the host wait.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    read_ends = [os.open(f"/proc/self/fd/{fd}", flags) for fd in (out_read, err_read)]
    kernel_ends = [theirs.detach(), out_write, err_write, *read_ends]
    return Descriptors(ours, out_read, err_read), kernel_ends


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


async def _receive(control: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """
    Wait for one message with its descriptors.

    Raises:
        ConnectionError: the other end is closed.
        ValueError: it is not a JSON object.
    """
    loop = asyncio.get_running_loop()
    ancillary_bytes = socket.CMSG_SPACE(_FDS_MAX * array.array("i").itemsize)
    while True:
        try:
            data, ancillary, _, _ = control.recvmsg(
                MESSAGE_BYTES_MAX, ancillary_bytes, socket.MSG_CMSG_CLOEXEC
            )
            break
        except BlockingIOError:
            readable = loop.create_future()
            loop.add_reader(control.fileno(), _set_once, readable)
            try:
                await readable
            finally:
                loop.remove_reader(control.fileno())
    fds = array.array("i")
    for level, kind, raw in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(raw[: len(raw) - len(raw) % fds.itemsize])
    if not data:
        raise ConnectionError("its socket closed")
    try:
        message = json.loads(data)
        if not isinstance(message, dict):
            raise ValueError("not an object")  # noqa: TRY004 - the message is wrong, not a type
    except ValueError:
        for fd in fds:
            os.close(fd)
        raise
    return message, list(fds)


def _discard(exchange: asyncio.Future[int]) -> None:
    if not exchange.cancelled() and exchange.exception() is None:
        os.close(exchange.result())


def _set_once(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _pid_of(pidfd: int) -> int:
    for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines():
        if line.startswith("Pid:"):
            return int(line.split()[1])
    raise SpawnFailed("The new process has no number.")
