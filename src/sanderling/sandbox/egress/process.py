"""
The process of the proxy: `python -m sanderling.sandbox.egress.process FD`.

It reads what hostile code wrote, so it is given little: no file that it may write, no program that
it may start, as root a uid that owns nothing, the system call filter of the boxes, and TCP only to
the ports of HTTP, HTTPS and DNS where Landlock can say so. It ends with the host that started it.
The host speaks to it on one socket (docs/protocol.md, §4).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import sys
from typing import Any

from sanderling.errors import MachineUnfit
from sanderling.sandbox import uids
from sanderling.sandbox.egress.audit import Entry
from sanderling.sandbox.egress.gate import Permit
from sanderling.sandbox.egress.proxy import Proxy
from sanderling.sandbox.egress.reach import Reach, Resolver, dial
from sanderling.sandbox.egress.targets import HTTP_PORT, HTTPS_PORT
from sanderling.sandbox.wall import landlock, linux, seccomp

MESSAGE_BYTES_MAX = 64 << 10
_DNS_PORT = 53
_MEMORY_BYTES_MAX = 1 << 30  # 2,048 connections with a chunk in each direction take a quarter
_READABLE = ("/etc", "/usr", "/lib", "/lib64", "/run/systemd/resolve", "/run/resolvconf")


def main(arguments: list[str]) -> None:
    """Serve until the host closes the socket, whose descriptor is the only argument."""
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    control = socket.socket(fileno=int(arguments[0]))
    control.setblocking(False)
    try:
        _warm_up()
        _confine()
    except (OSError, MachineUnfit) as error:
        control.send(_encode({"error": str(error)}))
        return
    asyncio.run(_serve(control))


def _warm_up() -> None:
    """Load what is loaded on first use: afterwards our own files may be out of reach."""
    with contextlib.suppress(OSError):
        socket.getaddrinfo(b"localhost", None)  # the C library's own parts
    asyncio.run(asyncio.to_thread(lambda: None))
    "".encode("idna")


def _confine() -> None:
    """
    Give everything up that a proxy has no use for.

    Raises:
        OSError: a step was refused; nothing may be served.
        MachineUnfit: this is root of a container without other uids.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES_MAX, _MEMORY_BYTES_MAX))
    if os.geteuid() == 0:
        boxes = uids.choose()
        # One below those of the boxes, which is nobody's either.
        uid, gid = boxes.first - 1, boxes.gid_first - 1
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        # The change of uid took this back.
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    linux.empty_capabilities()
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    version = landlock.abi()
    if version == 0:
        raise OSError("Landlock is missing: this kernel was built or started without it")
    readable = {*_READABLE, os.path.dirname(os.path.realpath("/etc/resolv.conf"))}
    landlock.restrict(
        version,
        read_only=tuple(path for path in sorted(readable) if os.path.isdir(path)),
        writable=(),
        executable=False,
        connect_ports=(HTTP_PORT, HTTPS_PORT, _DNS_PORT),
    )
    seccomp.Filter(sizes_buffers=True).apply()  # `reach.dial` bounds what a connection holds


async def _serve(control: socket.socket) -> None:
    turn = asyncio.Lock()  # a socket has one writer at a time
    loop = asyncio.get_running_loop()

    async def record(entry: Entry) -> None:
        async with turn:
            await loop.sock_sendall(control, _encode({"op": "request", **entry.as_json()}))

    proxy = Proxy(Reach(Resolver(), dial), record)
    await loop.sock_sendall(control, _encode({"op": "ready"}))
    try:
        while True:
            await _until_readable(control)
            message, fds, _, _ = socket.recv_fds(control, MESSAGE_BYTES_MAX, 1)
            if not message:
                return
            await _obey(proxy, json.loads(message), fds)
    finally:
        # The host is gone or wants no more: nobody is left to write down what ends now.
        control.close()
        os._exit(0)


async def _obey(proxy: Proxy, message: dict[str, Any], fds: list[int]) -> None:
    container_id = message["container_id"]
    match message["op"]:
        case "open":
            domains = tuple(message["domains"])
            permit = Permit(container_id, message["organization_id"], domains)
            proxy.open(permit, socket.socket(fileno=fds[0]))
        case "shut":
            await proxy.shut(container_id)
        case op:
            raise AssertionError(f"there is no message {op!r}")


async def _until_readable(control: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(control, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(control)


def _encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode()


if __name__ == "__main__":
    main(sys.argv[1:])
