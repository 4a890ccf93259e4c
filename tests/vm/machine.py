"""
Boots the image in an emulated machine and runs one command there, as root.

QEMU's own emulation (TCG) needs no rights and no virtualization, and is 20 to 30 times slower than
the processor. The command and the sources come on a second disk that is a tar file; what it prints
and its exit code leave by a serial port of their own, beside the console with the kernel's words.
Whatever the guest writes to its disk is thrown away.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.vm.image import Image

TOP = Path(__file__).resolve().parents[2]
_SOURCES = ("src", "tests", "pyproject.toml", "README.md")
_PORT = "/dev/vport0p1"
_BOOT = """\
exec > {port} 2>&1 < /dev/null
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/root
sh ./.command
echo "{mark} $?"
"""
_MARK = "--- the command ended with"


class Unfinished(Exception):
    """The machine ended, or had to be ended, before the command did."""


def run(
    image: Image,
    command: str,
    *,
    log: Path,
    deadline_s: float,
    memory: str = "3G",
    kernel_arguments: str = "",
    hardware: tuple[str, ...] = (),
) -> int:
    """
    Run the shell command `command` in a fresh machine; print what it prints, return its exit code.

    Args:
        log: gets the console: firmware, kernel, systemd.
        kernel_arguments: added to the kernel's command line.
        hardware: further arguments of QEMU.

    Raises:
        Unfinished: the machine ended, or its time was over, before the command's exit code came.
    """
    with tempfile.TemporaryDirectory(prefix="sanderling-vm-", dir="/var/tmp") as scratch:
        parcel = Path(scratch) / "sources.tar"
        _pack(parcel, command)
        machine = subprocess.Popen(
            [
                *("nice", "-n", "15", "qemu-system-x86_64", "-nodefaults", "-no-user-config"),
                *("-M", "q35", "-cpu", "max", "-accel", "tcg,thread=multi,tb-size=512"),
                *("-smp", "2", "-m", memory, "-display", "none", "-no-reboot", "-nic", "none"),
                *("-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append"),
                f"root=/dev/vda rw console=ttyS0 panic=-1 systemd.show_status=0 {kernel_arguments}",
                *("-drive", f"file={image.disk},if=virtio,format=raw,snapshot=on"),
                *("-drive", f"file={parcel},if=virtio,format=raw,readonly=on"),
                *("-serial", f"file:{log}", "-device", "virtio-serial"),
                *("-chardev", "file,id=result,path=/dev/stdout"),
                *("-device", "virtserialport,chardev=result,name=result"),
                *hardware,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        signal.signal(signal.SIGALRM, lambda *_: machine.kill())
        signal.setitimer(signal.ITIMER_REAL, deadline_s)
        code: int | None = None
        try:
            assert machine.stdout is not None
            for line in machine.stdout:
                if (found := re.fullmatch(rf"{_MARK} (\d+)\s*", line)) is not None:
                    code = int(found[1])
                    break
                sys.stdout.write(line)
                sys.stdout.flush()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            machine.kill()
            machine.wait()
    if code is None:
        tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
        raise Unfinished(f"The machine ended before the command did. Its console ends:\n{tail}")
    return code


def _pack(parcel: Path, command: str) -> None:
    """Write the tar file that is the second disk."""

    def clean(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return None if os.path.basename(entry.name) == "__pycache__" else entry

    with tempfile.TemporaryDirectory() as folder, tarfile.open(parcel, "w") as tar:
        for name in _SOURCES:
            tar.add(TOP / name, name, filter=clean)
        for name, text in ((".boot", _BOOT.format(port=_PORT, mark=_MARK)), (".command", command)):
            (Path(folder) / name).write_text(text)
            tar.add(Path(folder) / name, name, filter=clean)
