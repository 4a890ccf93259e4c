"""
Builds the virtual machine's disk: a stock Debian 12 with its own kernel, systemd and Python.

The packages come from Debian by `mmdebstrap`, so nothing is installed on the machine that builds.
The server's dependencies and the guest environment are copies of this checkout's: the same version
of Python, at a place of their own. Sanderling's sources are not in the image (`machine.py` brings
them at every start), so the image is built again only when a list of packages changes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sanderling.environments import environment
from sanderling.environments.environment import Environment

SUITE = "bookworm"
PYTHON = (3, 11)  # Debian 12's own, and so the copies' too
_DISK_BYTES = 3 << 30  # sparse: it takes what is in it
_PACKAGES = (
    "linux-image-amd64",
    "initramfs-tools",
    "systemd-sysv",
    "dbus",
    "dbus-user-session",  # a user's own systemd, which delegates control groups
    "libpam-systemd",
    "udev",
    "python3",
    "uidmap",
    "procps",  # sysctl
    "sudo",  # what the doctor proposes begins with it
)
# What the kernel needs to find its disk, and the port the results leave by.
_MODULES = "virtio_pci virtio_blk virtio_console ext4"
# Drivers of hardware that the machine does not have: most of the kernel package's bytes.
_NO_DRIVERS = "gpu media net infiniband staging usb scsi iio hwmon isdn"
# Development tools, and what lets pip and mypy work: not needed to run.
_NOT_COPIED = ("mypy", "mypyc", "pip", "setuptools", "grimp", "*__mypyc*.so", "*.pth")
_UNIT = """\
[Unit]
Description=Run the command that the second disk brings
After=basic.target systemd-user-sessions.service dbus.service systemd-logind.service
ConditionPathExists=/dev/vdb

[Service]
Type=oneshot
WorkingDirectory=/opt/sanderling
ExecStartPre=/bin/tar -x -f /dev/vdb
ExecStart=/bin/sh ./.boot
ExecStopPost=/bin/systemctl poweroff --force --force
StandardInput=null
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
"""
# Half a minute of the emulated machine each, and nothing here looks at what they do.
_MASKED = (
    "getty@tty1.service serial-getty@ttyS0.service apt-daily.timer apt-daily-upgrade.timer "
    "e2scrub_reap.service e2scrub_all.timer fstrim.timer dpkg-db-backup.timer logrotate.timer "
    "systemd-update-utmp.service systemd-timesyncd.service"
).split()
USER, UID = "box-keeper", 1000

SERVER = "/opt/server/bin/python"
GUEST_ENV = "/opt/env"


@dataclass(frozen=True)
class Image:
    """A disk, and the kernel that was installed on it."""

    disk: Path
    kernel: Path
    initrd: Path

    @property
    def is_whole(self) -> bool:
        return all(path.exists() for path in (self.disk, self.kernel, self.initrd))


def build(folder: Path, server: Path, guest: Environment, *, anew: bool = False) -> Image:
    """
    Return the image in `folder`, built if it is not there or `anew` is asked for.

    Args:
        server: the virtual environment with the server's dependencies.
        guest: the guest environment to copy.
    """
    place = folder / _digest(server, guest)
    image = Image(place / "disk.ext4", place / "vmlinuz", place / "initrd.img")
    if image.is_whole and not anew:
        return image
    _need_tools()
    shutil.rmtree(folder, ignore_errors=True)
    place.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="sanderling-vm-", dir="/var/tmp") as scratch:
        root = Path(scratch) / "root"
        _install_debian(root)
        _copy_python(server, root / "opt/server")
        (_packages_of(root / "opt/server") / "sources.pth").write_text("/opt/sanderling/src\n")
        _copy_python(guest.path, root / "opt/env")
        _stamp(root, guest)
        _furnish(root)
        for name, path in (("vmlinuz", image.kernel), ("initrd.img", image.initrd)):
            (found,) = (root / "boot").glob(f"{name}-*")
            shutil.copy(found, path)
            found.unlink()
        _make_disk(root, image.disk)
    return image


def _digest(server: Path, guest: Environment) -> str:
    """Of all that goes into the image: this program and both lists of packages."""
    facts = [Path(__file__).read_bytes(), repr(sorted(guest.packages.items())).encode()]
    facts += [path.name.encode() for path in sorted(_packages_of(server).glob("*.dist-info"))]
    return hashlib.sha256(b"\n".join(facts)).hexdigest()[:16]


def _need_tools() -> None:
    missing = [n for n in ("mmdebstrap", "qemu-system-x86_64", "mke2fs") if not shutil.which(n)]
    if missing:
        sys.exit(
            f"{', '.join(missing)} missing: apt-get install --no-install-recommends "
            "mmdebstrap qemu-system-x86 e2fsprogs"
        )
    if os.geteuid() != 0:
        sys.exit("The image is built as root: its files belong to root and to users of its own.")
    if sys.version_info[:2] != PYTHON:
        sys.exit("Debian 12 has Python 3.11: make setup-dev PYTHON=python3.11")


def _install_debian(root: Path) -> None:
    """Install the packages, with an initial RAM disk that knows the machine's few devices."""
    modules = " ".join(f"'{m}'" for m in _MODULES.split())
    few = 'mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d" && '
    few += 'echo MODULES=list > "$1/etc/initramfs-tools/conf.d/few" && '
    few += f'printf "%s\\n" {modules} > "$1/usr/share/initramfs-tools/modules.d/few"'
    drivers = " ".join(f'"$1"/usr/lib/modules/*/kernel/drivers/{d}' for d in _NO_DRIVERS.split())
    trim = f'rm -rf {drivers} "$1"/lib/modules/*/kernel/sound'
    _run(
        "mmdebstrap",
        "--variant=minbase",
        f"--include={','.join(_PACKAGES)}",
        *(f"--dpkgopt=path-exclude=/usr/share/{n}/*" for n in ("doc", "man", "locale", "info")),
        f"--essential-hook={few}",
        f"--customize-hook={trim}",
        SUITE,
        str(root),
    )


def _packages_of(prefix: Path) -> Path:
    return prefix / f"lib/python{PYTHON[0]}.{PYTHON[1]}/site-packages"


def _copy_python(source: Path, goal: Path) -> None:
    """Copy a virtual environment, and stand it on the image's own interpreter."""
    shutil.copytree(
        _packages_of(source), _packages_of(goal), ignore=shutil.ignore_patterns(*_NOT_COPIED)
    )
    if (source / "share").is_dir():
        shutil.copytree(source / "share", goal / "share")
    (goal / "bin").mkdir()
    (goal / "bin/python").symlink_to("/usr/bin/python3.11")
    (goal / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")


def _stamp(root: Path, guest: Environment) -> None:
    """Say what the copied environment is, in the words of its new interpreter."""
    probe = root / "opt/probe.py"
    shutil.copy(environment.PROBE, probe)
    # It reads /proc, which is there in a mount namespace of its own only.
    ask = f'mount -t proc - "$0/proc" && exec chroot "$0" {GUEST_ENV}/bin/python -I /opt/probe.py'
    said = json.loads(_run("unshare", "--mount", "sh", "-c", ask, str(root)))
    stamp = root / GUEST_ENV[1:] / environment.STAMP_NAME
    stamp.write_text(json.dumps({"lock_digest": guest.lock_digest, **said}))
    probe.unlink()


def _furnish(root: Path) -> None:
    """Write the settings of the machine: its user, and the unit that runs what it is told to."""
    (root / "opt/sanderling").mkdir()
    _run("chroot", str(root), "useradd", "--create-home", "--uid", str(UID), USER)
    linger = root / "var/lib/systemd/linger"
    linger.mkdir(parents=True, exist_ok=True)
    (linger / USER).touch()
    units = root / "etc/systemd/system"
    (units / "run-command.service").write_text(_UNIT)
    wants = units / "multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "run-command.service").symlink_to("../run-command.service")
    for name in _MASKED:
        (units / name).unlink(missing_ok=True)
        (units / name).symlink_to("/dev/null")
    (root / "etc/hostname").write_text("debian\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost debian\n")
    (root / "etc/fstab").write_text("")


def _make_disk(root: Path, disk: Path) -> None:
    fresh = disk.with_suffix(".new")
    with fresh.open("wb") as file:
        file.truncate(_DISK_BYTES)
    _run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", str(root), str(fresh))
    fresh.rename(disk)


def _run(*command: str) -> str:
    print("+", " ".join(command)[:120], flush=True)
    done = subprocess.run(
        ["nice", "-n", "15", *command], stdout=subprocess.PIPE, text=True, check=True, umask=0o022
    )
    return done.stdout
