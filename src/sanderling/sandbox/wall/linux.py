"""
The system calls that Python does not offer, by ctypes: mounts, namespaces, credentials.

Stdlib only. Each function is one call of the same name and raises OSError with the call's name in
it, so that a refusal says where the wall could not be built. Numbers and flags are from the
kernel's headers (include/uapi); calls from 424 on have one number on every architecture.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct

MACHINE = platform.machine()
IS_X86_64 = MACHINE == "x86_64"
IS_SUPPORTED = MACHINE in {"x86_64", "aarch64"}

_libc = ctypes.CDLL(None, use_errno=True)
# Called without giving up the interpreter's lock: the child must be born holding it.
_own_fork = ctypes.PyDLL(None, use_errno=True).fork
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]

_NR = {
    "capset": 126 if IS_X86_64 else 91,
    "pivot_root": 155 if IS_X86_64 else 41,
    "seccomp": 317 if IS_X86_64 else 277,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "mount_setattr": 442,
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
}

# mount(2), umount2(2)
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 0x20, 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
# mount_setattr(2), fsmount(2)
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 1, 2, 4, 8
MOUNT_ATTR_IDMAP = 0x00100000
# open_tree(2), move_mount(2)
AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
OPEN_TREE_CLONE = 1
MOVE_MOUNT_F_EMPTY_PATH = 4
# clone(2), unshare(2), setns(2)
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = (
    0x00020000,
    0x02000000,
    0x04000000,
    0x08000000,
)
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWTIME = (
    0x10000000,
    0x20000000,
    0x40000000,
    0x00000080,
)
CLONE_NEW_ANY = (
    CLONE_NEWNS
    | CLONE_NEWCGROUP
    | CLONE_NEWUTS
    | CLONE_NEWIPC
    | CLONE_NEWUSER
    | CLONE_NEWPID
    | CLONE_NEWNET
    | CLONE_NEWTIME
)
# prctl(2)
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_MM = 35
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

_FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 1, 6
_FSOPEN_CLOEXEC = _FSMOUNT_CLOEXEC = 1
_CAPABILITY_VERSION_3 = 0x20080522


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def call(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """Make the system call `name`; integers are longs, bytes are pointers, None is NULL."""
    converted = [
        ctypes.c_long(a)
        if isinstance(a, int)
        else ctypes.c_char_p(a)
        if a is None or isinstance(a, bytes)
        else ctypes.cast(a, ctypes.c_void_p)
        for a in arguments
    ]
    ctypes.set_errno(0)
    return _check(int(_syscall(ctypes.c_long(_NR[name]), *converted)), name)


def prctl(option: int, *arguments: int) -> int:
    """prctl(2), missing arguments 0."""
    padded = (*arguments, *[0] * (4 - len(arguments)))
    return _check(int(_libc.prctl(option, *padded)), f"prctl {option}")


def fork() -> int:
    """
    fork(2) without what Python does around it, which is a thousand writes to shared pages.

    Python's own makes locks new that other threads may have held, and calls what was registered for
    after a fork. A process with one thread that holds no lock can do without, if it has called once
    what libraries forget by (`kernel/preload.py`) and takes new seeds in the child
    (`kernel/main.reseed`). The handlers of C libraries do run.
    """
    return _check(int(_own_fork()), "fork")


def unshare(flags: int) -> None:
    """unshare(2)"""
    _check(_libc.unshare(ctypes.c_int(flags)), f"unshare {flags:#x}")


def setns(fd: int, kind: int) -> None:
    """setns(2)"""
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(kind)), f"setns {kind:#x}")


def mount(
    source: str | None, target: str, kind: str | None, flags: int, data: str | None = None
) -> None:
    """mount(2)"""
    encoded = [None if t is None else os.fsencode(t) for t in (source, target, kind, data)]
    _check(
        _libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]),
        f"mount {kind or 'bind'} on {target}",
    )


def umount(target: str) -> None:
    """Detach the topmost mount at `target`."""
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)"""
    call("pivot_root", os.fsencode(new_root), os.fsencode(put_old))


def clone_tree(path: str) -> int:
    """Return a descriptor of a detached recursive bind mount of `path`."""
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC | AT_RECURSIVE
    return call("open_tree", AT_FDCWD, os.fsencode(path), flags)


def set_mount_attributes(fd: int, attributes: int, propagation: int = 0) -> None:
    """Add MOUNT_ATTR_* to a mount and all below it; `propagation` is 0 or MS_PRIVATE."""
    value = struct.pack("QQQQ", attributes, 0, propagation, 0)
    call("mount_setattr", fd, b"", AT_EMPTY_PATH | AT_RECURSIVE, value, len(value))


def map_ids(fd: int, user_namespace_fd: int) -> None:
    """Show the owners of files on this detached mount as the user namespace numbers them."""
    value = struct.pack("QQQQ", MOUNT_ATTR_IDMAP, 0, 0, user_namespace_fd)
    call("mount_setattr", fd, b"", AT_EMPTY_PATH, value, len(value))


def attach_mount(fd: int, target: str) -> None:
    """Attach a detached mount at `target`."""
    call("move_mount", fd, b"", AT_FDCWD, os.fsencode(target), MOVE_MOUNT_F_EMPTY_PATH)


def new_tmpfs(options: dict[str, str], attributes: int) -> int:
    """Return a descriptor of a fresh, detached tmpfs with these options and MOUNT_ATTR_*."""
    context = call("fsopen", b"tmpfs", _FSOPEN_CLOEXEC)
    try:
        for key, value in options.items():
            call("fsconfig", context, _FSCONFIG_SET_STRING, key.encode(), value.encode(), 0)
        call("fsconfig", context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return call("fsmount", context, _FSMOUNT_CLOEXEC, attributes)
    finally:
        os.close(context)


def hide_arguments(name: str) -> None:
    """Have /proc show `name` instead of this process's command line, and of those it forks."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    overwrite_arguments(int(fields[45]), int(fields[46]), name)  # arg_start, arg_end: proc(5)
    with open("/proc/self/comm", "w") as file:  # the name of the program's file until now
        file.write(name)


def overwrite_arguments(start: int, end: int, name: str) -> None:
    """Write `name` over the arguments of this process, which lie in its memory there."""
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, name.encode(), min(len(name), end - start - 2))
    # A last byte that is not 0 says that there is one string now, which ends at the first 0.
    ctypes.memset(end - 1, 1, 1)


def set_hostname(name: str) -> None:
    """sethostname(2)"""
    encoded = name.encode()
    _check(_libc.sethostname(encoded, len(encoded)), "sethostname")


def drop_capabilities() -> None:
    """Empty every capability set, the bounding set included; nothing can bring them back."""
    with open("/proc/sys/kernel/cap_last_cap") as file:
        last = int(file.read())
    for capability in range(last + 1):
        prctl(PR_CAPBSET_DROP, capability)
    empty_capabilities()


def empty_capabilities() -> None:
    """Drop every capability this process has; needs none."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    permit_nothing()


def permit_nothing() -> None:
    """capset(2): nothing is permitted, effective or inheritable any more."""
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    call("capset", header, bytes(24))
