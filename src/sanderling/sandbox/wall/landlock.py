"""
Landlock: a process may read its root and write only below its own folders, whatever else gives way.

A second wall behind the mount namespace: it binds the process by path hierarchy, outlives any
mount trick, and cannot be lifted. Where the kernel knows scopes (ABI 6) it also cuts abstract Unix
sockets and signals to the outside.
"""

from __future__ import annotations

import os
import struct

from sanderling.sandbox.wall import linux

# Bits of LANDLOCK_ACCESS_FS_*, by the ABI that brought them (include/uapi/linux/landlock.h).
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_ABI1_ALL = (1 << 13) - 1
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_FILE_ONLY = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_SCOPE_ABSTRACT_UNIX, _SCOPE_SIGNAL = 1, 2
_CONNECT_TCP = 2  # of LANDLOCK_ACCESS_NET_*, with ABI 4
_RULE_PATH_BENEATH, _RULE_NET_PORT = 1, 2
_CREATE_RULESET_VERSION = 1

READ_ONLY = ("/",)
DEVICES = ("/dev/null", "/dev/zero", "/dev/full")
WRITABLE = ("/mnt/data", "/tmp", "/dev/shm", "/home/user", *DEVICES)  # noqa: S108


def abi() -> int:
    """Return the kernel's Landlock ABI, 0 when it has none."""
    try:
        return linux.call("landlock_create_ruleset", None, 0, _CREATE_RULESET_VERSION)
    except OSError:
        return 0


def _handled(version: int) -> int:
    accesses = _ABI1_ALL
    if version >= 2:
        accesses |= _REFER
    if version >= 3:
        accesses |= _TRUNCATE
    if version >= 5:
        accesses |= _IOCTL_DEV
    return accesses


def restrict(
    version: int,
    *,
    read_only: tuple[str, ...] = READ_ONLY,
    writable: tuple[str, ...] = WRITABLE,
    executable: bool = True,
    connect_ports: tuple[int, ...] | None = None,
) -> None:
    """
    Bind this process and all it will start. `version` is `abi()`; 0 is a programmer's error.

    executable: what may be read may be started. connect_ports: the only ports that TCP may connect
    to, where the kernel knows how (ABI 4); None: any.

    Raises:
        OSError: the ruleset could not be built or applied; the process must not be used.
    """
    assert version > 0
    reading = _READ_FILE | _READ_DIR | (_EXECUTE if executable else 0)
    network = _CONNECT_TCP if connect_ports is not None and version >= 4 else 0
    handled = _handled(version)
    scoped = _SCOPE_ABSTRACT_UNIX | _SCOPE_SIGNAL if version >= 6 else 0
    attributes = struct.pack("QQQ", handled, network, scoped)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = linux.call("landlock_create_ruleset", attributes, size, 0)
    try:
        for path in read_only:
            _allow(ruleset, path, reading)
        for path in writable:
            _allow(ruleset, path, handled & ~(_MAKE_CHAR | _MAKE_BLOCK))
        for port in connect_ports or () if network else ():
            rule = struct.pack("=QQ", _CONNECT_TCP, port)
            linux.call("landlock_add_rule", ruleset, _RULE_NET_PORT, rule, 0)
        linux.call("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, accesses: int) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not os.path.isdir(path):
            accesses &= _FILE_ONLY
        rule = struct.pack("=Qi", accesses, fd)
        linux.call("landlock_add_rule", ruleset, _RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(fd)
