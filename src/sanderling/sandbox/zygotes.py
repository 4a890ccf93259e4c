"""
Starts the process that forks boxes: its plan, its uids, the trial of both, its first words.

Where the uids a plain user would like to give are refused, nothing has been imported yet, so that
a second attempt with a single uid costs little (`uids.py`).
"""

from __future__ import annotations

import array
import asyncio
import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import sanderling
from sanderling.environments.environment import Environment
from sanderling.errors import MachineUnfit, SetupError
from sanderling.sandbox import box_files, uids
from sanderling.sandbox.wall import linux
from sanderling.sandbox.wall.zygote import MESSAGE_BYTES_MAX, Plan

START_DEADLINE_S = 60.0  # importing everything takes 1.5 s on a quiet machine
_FDS_MAX = 8

_BOOTSTRAP = (
    "import sys, importlib; _, root, sys.executable, module, control, *arguments = sys.argv; "
    "sys.path.insert(0, root); main = importlib.import_module(module).main; "
    "sys.path.remove(root); main(int(control), *arguments)"
)


# How a zygote says that the wall is not to blame, also when gVisor's agent passes it on.
_PRELOAD_FAILED = "PreloadFailed: "


def plan_for(
    environment: Environment,
    preload: tuple[str, ...],
    box_uids: uids.BoxUids,
    *,
    required: tuple[str, ...] = (),
    has_egress: bool,
) -> Plan:
    """
    Return what is asked of a process that forks boxes on this guest environment.

    required: of `preload`, the modules without which it must not begin.
    """
    return Plan(
        visible=[str(p) for p in environment.base_prefixes],
        path=f"{environment.path}/bin:/usr/local/bin:/usr/bin:/bin",
        mpl_config=str(environment.mpl_config) if environment.mpl_config.is_dir() else None,
        preload=list(preload),
        required=list(required),
        uids=box_uids.kind,
        uid=os.geteuid(),
        gid=os.getegid(),
        has_egress=has_egress,
    )


async def launch(
    python: Path,
    module: str,
    plan: Plan,
    box_uids: uids.BoxUids,
    *arguments: str,
    name: str = "The zygote",
    deadline_s: float | None = None,
) -> tuple[subprocess.Popen[bytes], socket.socket, dict[str, Any]]:
    """
    Start the process that forks boxes, `main` of `module`, and wait until it is warm.

    Return it, our end of its control socket, and the facts it states of itself.

    Raises:
        uids.Refused: with other uids it may work.
        MachineUnfit: this machine refuses a part of the wall; says which.
        SetupError: a module that must be preloaded is not there, or none can be forked with it.
    """
    if not linux.IS_SUPPORTED:
        raise MachineUnfit(f"Boxes need an x86_64 or aarch64 machine, not {linux.MACHINE}.")
    try:
        box_files.try_out()
    except OSError as error:
        # The wall would stand without it, and the first look at a box's files would fail.
        raise MachineUnfit(
            f"The files of boxes cannot be opened safely: openat2 is refused ({error}). "
            "Run `sanderling doctor` to see how to mend it."
        ) from error
    deadline_s = START_DEADLINE_S if deadline_s is None else deadline_s
    control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        all_arguments = (json.dumps(asdict(plan)), *arguments)
        process = _start_process(python, module, theirs.fileno(), all_arguments)
    control.setblocking(False)
    try:
        async with asyncio.timeout(deadline_s):
            return process, control, await _introduce(control, process.pid, box_uids)
    except BaseException as error:
        process.kill()
        process.wait()
        control.close()
        if not isinstance(error, TimeoutError):
            raise
        raise MachineUnfit(
            f"{name} was not ready after {deadline_s:.0f} s; the machine is too busy "
            "or the guest environment is on a very slow disk."
        ) from error


def _start_process(
    python: Path, module: str, control_fd: int, arguments: tuple[str, ...]
) -> subprocess.Popen[bytes]:
    package_root = str(Path(sanderling.__file__).parents[1])
    # What the environment's link leads to: the link itself would make Python run the environment's
    # start-up files, here and now (`wall/activation.py`).
    base = os.path.realpath(python)
    # -I: nothing of the operator's own Python settings; stdout and stderr are the host's log.
    command = [base, "-I", "-B", "-c", _BOOTSTRAP, package_root, str(python), module]
    command.append(str(control_fd))
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


async def _introduce(control: socket.socket, pid: int, box_uids: uids.BoxUids) -> dict[str, Any]:
    """Give the zygote its uids, wait until it is warm, and return the facts it states."""
    try:
        if box_uids.kind != "single":
            message, _ = await receive(control)
            _raise_unfit(message)
            await asyncio.to_thread(uids.write_maps, box_uids, pid)
            control.send(b"mapped")
        if box_uids.kind == "subuid":
            message, fds = await receive(control)
            if message.get("op") != "try" or len(fds) != 1:
                raise uids.Refused(str(message.get("error", "the files of a box cannot be shown")))
            try:
                uids.try_view(fds[0])
            finally:
                os.close(fds[0])
            control.send(b"good")
        message, _ = await receive(control)
    except (OSError, ConnectionError) as error:
        raise MachineUnfit(
            f"The zygote ended before it was ready ({error}). Run `sanderling doctor`."
        ) from error
    _raise_unfit(message)
    return message


def _raise_unfit(message: dict[str, Any]) -> None:
    if "error" in message:
        _, is_preload, reason = str(message["error"]).rpartition(_PRELOAD_FAILED)
        if is_preload:
            raise SetupError(
                f"What should be preloaded cannot be: {reason.rstrip('.')}. Change the preload "
                "list (--preload), or the packages of the environment."
            )
        raise MachineUnfit(
            f"The wall cannot be built on this machine: {message['error']}. "
            "Run `sanderling doctor` to see what is missing and how to mend it."
        )


async def receive(control: socket.socket) -> tuple[dict[str, Any], list[int]]:
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


def _set_once(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
