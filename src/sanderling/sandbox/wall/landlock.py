"""
Landlock: the box may read its root and write only below its own folders, whatever else gives way.

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
_RULE_PATH_BENEATH = 1
_CREATE_RULESET_VERSION = 1

READ_ONLY = ("/",)
WRITABLE = ("/mnt/data", "/tmp", "/dev/shm", "/home/user", "/dev/null", "/dev/zero", "/dev/full")  # noqa: S108


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


def restrict(version: int) -> None:
    """
    Bind this process and all it will start. `version` is `abi()`; 0 is a programmer's error.

    Raises:
        OSError: the ruleset could not be built or applied; the box must not be used.
    """
    assert version > 0
    handled = _handled(version)
    scoped = _SCOPE_ABSTRACT_UNIX | _SCOPE_SIGNAL if version >= 6 else 0
    attributes = struct.pack("QQQ", handled, 0, scoped)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = linux.call("landlock_create_ruleset", attributes, size, 0)
    try:
        for path in READ_ONLY:
            _allow(ruleset, path, _EXECUTE | _READ_FILE | _READ_DIR)
        for path in WRITABLE:
            _allow(ruleset, path, handled & ~(_MAKE_CHAR | _MAKE_BLOCK))
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
