"""
The file system a box sees: a root of read-only pieces, made once, and writable folders, per box.

The root is built once by the zygote: a small tmpfs with the guest environment, the system's
libraries and a handful of devices bound into it, then `pivot_root`, then read-only. Every box adds
one fresh tmpfs, bound to /mnt/data, /tmp, /dev/shm and /home/user, so that one quota of bytes and
inodes covers all it can write, and a /proc of its own with the host's facts masked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from sanderling.sandbox.wall import linux

HOME = "/home/user"
_STAGING = "/tmp"  # noqa: S108 - any folder does: it is covered in a mount namespace of our own
DEVICES = ("null", "zero", "full", "random", "urandom")
_FOLDERS = ("proc", "tmp", "mnt/data", "dev/shm", "etc", HOME[1:], "run", "var/tmp")
_SYSTEM_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
WRITABLE = ("/tmp", "/dev/shm", HOME, "/mnt/data")  # noqa: S108
_COVERING = (*WRITABLE, "/run")
_ETC_BOUND = (
    *("ld.so.cache", "alternatives", "fonts", "mime.types"),
    # Certificate authorities, where Debian, Alpine and Fedora keep them.
    *("ssl/certs", "ssl/cert.pem", "pki/tls/certs", "pki/tls/cert.pem", "pki/ca-trust/extracted"),
)
_ETC_WRITTEN = {
    "passwd": f"root:x:0:0:root:/:/usr/sbin/nologin\nuser:x:1000:1000:user:{HOME}:/bin/sh\n",
    "group": "root:x:0:\nuser:x:1000:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "resolv.conf": "",
    "hostname": "sandbox\n",
}
# Facts about the host that a plain /proc shows to everybody. Whatever of these exists is covered.
_PROC_MASKED = (
    "buddyinfo cgroups cmdline config.gz consoles crypto devices diskstats dma execdomains fb "
    "interrupts iomem ioports kallsyms kcore keys key-users kmsg kpagecgroup kpagecount "
    "kpageflags latency_stats locks misc modules mtrr pagetypeinfo partitions sched_debug "
    "schedstat slabinfo softirqs swaps sys/kernel/random/boot_id sysrq-trigger timer_list "
    "timer_stats vmallocinfo vmstat zoneinfo"
).split()
_PROC_MASKED_FOLDERS = "acpi asound bus driver fs irq pressure scsi sysvipc tty".split()
_PROC_READ_ONLY = ("sys",)

_RO = linux.MOUNT_ATTR_RDONLY | linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV
_DEVICE = linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NOEXEC
_SCRATCH = linux.MS_NOSUID | linux.MS_NODEV
_PROC = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC


def build_root(visible: Sequence[str]) -> dict[str, str]:
    """
    Make the root of all boxes and pivot into it. `visible` are absolute folders shown read-only
    at their own paths (the guest environment and the interpreter it stands on); /usr always is.

    Return the visible folders that lie where a box mounts writable ones (a checkout below /tmp,
    a home called /home/user), each with the place it is kept at: `uncover` shows them again.

    Raises:
        OSError: a step was refused; nothing may run.
    """
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    # Step 1: take hold of every piece before the staging folder covers any of them.
    pieces = {path: _read_only_tree(path) for path in _topmost(["/usr", *visible])}
    for name in _ETC_BOUND:
        if os.path.exists(f"/etc/{name}"):
            pieces[f"/etc/{name}"] = _read_only_tree(os.path.realpath(f"/etc/{name}"))
    for name in _SYSTEM_LINKS:
        if os.path.isdir(f"/{name}") and not os.path.islink(f"/{name}"):
            pieces[f"/{name}"] = _read_only_tree(f"/{name}")
    devices = {f"/dev/{name}": _tree(f"/dev/{name}", _DEVICE) for name in DEVICES}
    links = {n: os.readlink(f"/{n}") for n in _SYSTEM_LINKS if os.path.islink(f"/{n}")}
    proc = linux.clone_tree("/proc")
    # Step 2: a small tmpfs, and in it the folders, links and files of the root.
    root = linux.new_tmpfs(
        {"size": "1m", "nr_inodes": "1024", "mode": "755"},
        linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV,
    )
    linux.attach_mount(root, _STAGING)
    os.close(root)
    for folder in _FOLDERS:
        os.makedirs(f"{_STAGING}/{folder}", exist_ok=True)
    for name, target in links.items():
        os.symlink(target, f"{_STAGING}/{name}")
    for name, text in _ETC_WRITTEN.items():
        _write(f"{_STAGING}/etc/{name}", text)
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink(f"/proc/self/fd{target}", f"{_STAGING}/dev/{name}")
    # Step 3: the pieces. The old /proc stays under the new one: a fresh /proc may only be mounted
    # where an unmasked one can already be seen.
    covered: dict[str, str] = {}
    for path, tree in (*pieces.items(), *devices.items(), ("/proc", proc)):
        target = path
        if any(path.startswith(folder + "/") for folder in _COVERING):
            target = covered[path] = f"/var/visible/{len(covered)}"
        _place(tree, _STAGING + target)
    # Step 4: leave the old root behind for good.
    os.chdir(_STAGING)
    linux.pivot_root(".", ".")
    linux.umount(".")
    os.chdir("/")
    return covered


def uncover(covered: Mapping[str, str]) -> None:
    """Show again, below the writable folders just mounted, what they cover."""
    for path, kept in covered.items():
        os.makedirs(path, exist_ok=True)
        linux.mount(kept, path, None, linux.MS_BIND | linux.MS_REC)


def seal_root() -> None:
    """Make the root itself read-only; its mounts have their own flags."""
    flags = linux.MS_BIND | linux.MS_REMOUNT | linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV
    linux.mount("none", "/", None, flags)


def mount_scratch(covered: Mapping[str, str]) -> None:
    """Give the zygote folders to write in while it imports libraries."""
    for folder in ("/tmp", HOME, "/dev/shm"):  # noqa: S108
        linux.mount("tmpfs", folder, "tmpfs", _SCRATCH, "size=64m,mode=1777")
    uncover(covered)


def unmount_scratch() -> None:
    """Take them away again: nothing that was written there reaches a box."""
    for folder in ("/tmp", HOME, "/dev/shm"):  # noqa: S108
        linux.umount(folder)


def mount_writable(*, disk_bytes: int, inodes: int, owner: int, covered: Mapping[str, str]) -> None:
    """
    Mount one fresh tmpfs of `disk_bytes` and `inodes` and bind its folders into place.

    owner: the uid and gid, as this namespace counts them, that the guest will have.
    """
    tmpfs = linux.new_tmpfs(
        {"size": str(disk_bytes), "nr_inodes": str(inodes), "mode": "711"},
        linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV,
    )
    linux.attach_mount(tmpfs, "/run")
    os.close(tmpfs)
    for name, target, mode in (
        ("data", "/mnt/data", 0o755),
        ("tmp", "/tmp", 0o1777),  # noqa: S108
        ("shm", "/dev/shm", 0o1777),  # noqa: S108
        ("home", HOME, 0o700),
    ):
        os.mkdir(f"/run/{name}")
        os.chmod(f"/run/{name}", mode)
        os.chown(f"/run/{name}", owner, owner)
        linux.mount(f"/run/{name}", target, None, linux.MS_BIND)
    linux.umount("/run")
    uncover(covered)


def forbid_writing() -> None:
    """
    Make what `mount_writable` has mounted read-only, for good: whoever could undo it is gone when
    the box has given up its power. Who holds another mount of it, as the host does, may write.
    """
    flags = linux.MS_BIND | linux.MS_REMOUNT | linux.MS_RDONLY | _SCRATCH
    for target in WRITABLE:
        linux.mount("none", target, None, flags)


def mount_proc() -> None:
    """Mount this pid namespace's /proc over the old one, with the host's facts covered."""
    linux.mount("proc", "/proc", "proc", _PROC)
    for name in _PROC_READ_ONLY:
        path = f"/proc/{name}"
        linux.mount(path, path, None, linux.MS_BIND | linux.MS_REC)
        flags = linux.MS_BIND | linux.MS_REMOUNT | linux.MS_RDONLY | _PROC
        linux.mount("none", path, None, flags)
    for name in _PROC_MASKED:
        if os.path.exists(f"/proc/{name}"):
            linux.mount("/dev/null", f"/proc/{name}", None, linux.MS_BIND)
    for name in _PROC_MASKED_FOLDERS:
        if os.path.isdir(f"/proc/{name}"):
            flags = _PROC | linux.MS_RDONLY
            linux.mount("tmpfs", f"/proc/{name}", "tmpfs", flags, "size=4k,nr_inodes=2,mode=555")


def _topmost(paths: Sequence[str]) -> list[str]:
    """Drop every path that lies below another one; a recursive bind shows it already."""
    real = sorted({os.path.normpath(p) for p in paths})
    return [p for p in real if not any(p != q and p.startswith(q + "/") for q in real)]


def _tree(path: str, attributes: int) -> int:
    fd = linux.clone_tree(path)
    linux.set_mount_attributes(fd, attributes, linux.MS_PRIVATE)
    return fd


def _read_only_tree(path: str) -> int:
    return _tree(path, _RO)


def _place(tree: int, target: str) -> None:
    if os.path.isdir(f"/proc/self/fd/{tree}"):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        _write(target, "")
    linux.attach_mount(tree, target)
    os.close(tree)


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
