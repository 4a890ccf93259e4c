"""
The first process inside gVisor: it warms itself, is checkpointed, and becomes a kernel in each box.

It is pid 1 of its sandbox. Its first act is to take away the devices that a box has no use for,
its second to give up root: from then on it is uid 1000 without a capability and unable to gain one.
It loads the libraries and puts our filter in force, so that all of this is already true in whatever
is restored. Then it waits for the host; that wait is what the checkpoint holds, and where every box
goes on.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import sys
import time
from typing import Any, NoReturn

from sanderling.kernel import limits, preload
from sanderling.kernel import main as kernel_main
from sanderling.sandbox.wall import identity, linux, mounts, seccomp

MESSAGE_BYTES_MAX = 65536
_CAPABILITIES_MAX = 64
_BEGIN_FDS = 3
_INTERRUPTS = 6  # the last of our descriptors
_F_SETSIG = 10  # <fcntl.h>
_OWN_DESCRIPTORS = ("fd", "stdin", "stdout", "stderr")
# gVisor's statx refuses a flag that `ls` gives it; without the call, C libraries use another.
_ABSENT = frozenset({"statx"})


def main(host: socket.socket) -> NoReturn:
    """
    Be the template, and after the checkpoint a kernel.

    host: what the template's descriptor 0 is; after a restore it leads to the host of that box.
    """
    try:
        _hide_arguments()
        plan = json.loads(host.recv(MESSAGE_BYTES_MAX))
        _remove_devices()
        _become_guest()
        warm = _warm_up(plan)
    except Exception as error:  # noqa: BLE001 - the process boundary: the agent must learn why
        host.send(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
        os._exit(1)
    host.send(json.dumps(warm).encode())
    try:
        _arrange_descriptors(host, *_begin(host))
        _listen_to_interrupts(_INTERRUPTS)
        _reseed()
        os.chdir("/mnt/data")
        kernel_main.serve()
    finally:
        os._exit(1)


def _hide_arguments() -> None:
    """Have /proc show `python` as the command line. gVisor does not say where it lies."""
    # A program finds the addresses of its arguments, a NULL, and those of its variables in a row.
    variables = ctypes.c_void_p.in_dll(ctypes.CDLL(None), "environ").value or 0
    count = len(sys.orig_argv)
    size = ctypes.sizeof(ctypes.c_void_p)
    first, last = (
        ctypes.c_void_p.from_address(variables - back * size).value or 0 for back in (count + 1, 2)
    )
    linux.overwrite_arguments(first, last + len(ctypes.string_at(last)) + 1, "python")


def _remove_devices() -> None:
    """Leave in /dev what forked boxes have too (`wall/mounts.py`)."""
    for name in set(os.listdir("/dev")) - {*mounts.DEVICES, *_OWN_DESCRIPTORS}:
        path = f"/dev/{name}"
        if os.path.ismount(path):
            continue
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)


def _become_guest() -> None:
    """Give up root and every way back. Raises OSError, RuntimeError."""
    for fd in (1, 2):  # else nobody but root may open /dev/stdout
        os.fchown(fd, identity.GUEST_UID, identity.GUEST_UID)
    with contextlib.suppress(OSError):  # past the last capability that gVisor knows
        for capability in range(_CAPABILITIES_MAX):
            linux.prctl(linux.PR_CAPBSET_DROP, capability)
    os.setgroups([])
    os.setresgid(*[identity.GUEST_UID] * 3)
    os.setresuid(*[identity.GUEST_UID] * 3)
    linux.permit_nothing()
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    with open("/proc/self/status") as file:
        left = [line for line in file if line.startswith("Cap") and int(line.split()[1], 16)]
    if left:
        raise RuntimeError(f"capabilities are left: {' '.join(''.join(left).split())}")


def _warm_up(plan: dict[str, Any]) -> dict[str, Any]:
    os.environ.clear()
    os.environ.update(preload.environ(plan["path"], mounts.HOME), MALLOC_ARENA_MAX="1")
    os.makedirs(os.environ["MPLCONFIGDIR"])
    if plan["mpl_config"] is not None:
        shutil.copytree(plan["mpl_config"], os.environ["MPLCONFIGDIR"], dirs_exist_ok=True)
    started = time.perf_counter()
    report = preload.preload_or_fail(plan["preload"], plan["required"])
    preload_ms = (time.perf_counter() - started) * 1000
    preload.forget_one_thread()
    preload.close_files()
    limits.MEMORY.count_addresses()
    atexit._clear()  # noqa: SLF001 - what libraries would do at exit is not for every box to do
    os.umask(0o022)
    seccomp.Filter(absent=_ABSENT).apply()
    preload.freeze()
    return {
        "op": "warm",
        "preload_ms": round(preload_ms, 1),
        **report.as_facts(),
        "python": sys.version.split()[0],
    }


def _begin(host: socket.socket) -> list[int]:
    """Wait for the host of the box; return the read ends that it sends: out, err, interrupts."""
    _, fds, _, _ = socket.recv_fds(host, MESSAGE_BYTES_MAX, _BEGIN_FDS)
    if len(fds) != _BEGIN_FDS:
        raise RuntimeError(f"the box begins with {len(fds)} descriptors, not {_BEGIN_FDS}")
    return fds


def _listen_to_interrupts(fd: int) -> None:
    """
    Have every byte that arrives there be a SIGINT to this process.

    runsc can send signals too, but takes so long for one that it may arrive in a later cell.
    """
    fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(fd, _F_SETSIG, signal.SIGINT)
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_ASYNC)


def _reseed() -> None:
    """
    Take a new seed for OpenSSL's random numbers, which notice a fork but no restore.

    What a fork does not do by itself either, the kernel does (`kernel.main.reseed`).
    """
    ssl: Any = sys.modules.get("ssl")
    if ssl is not None:
        ssl.RAND_add(os.urandom(32), 32.0)


def _arrange_descriptors(host: socket.socket, *others: int) -> None:
    """Put the kernel's descriptors where `kernel.main.serve` expects them, ours behind them."""
    kept = [os.dup(fd) for fd in (host.detach(), *others)]
    spare = [os.dup2(fd, 200 + place, inheritable=False) for place, fd in enumerate(kept)]
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    os.closerange(3, 200)
    for target, fd in enumerate(spare, start=3):
        os.dup2(fd, target, inheritable=False)
    os.closerange(3 + len(spare), 300)
