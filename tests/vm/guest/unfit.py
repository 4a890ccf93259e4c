"""
Machines that lack something: `doctor` must say what, and the command it proposes must mend it.

    python -m tests.vm.guest.unfit GROUP       GROUP: settings, or a kernel started otherwise

Run as root. A machine is made unfit by its settings, or by a service whose sandboxing takes away
what a container would. Nobody may see a traceback, and no box may be made where a layer is missing.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass

PYTHON = "/opt/server/bin/python"
DOCTOR = (PYTHON, "-m", "sanderling", "doctor", "--env", "/opt/env")
CELL = (PYTHON, "-m", "tests.vm.guest.cell")
HOME = "/home/box-keeper"
AS_USER = ("runuser", "-u", "box-keeper", "--", "env", f"--chdir={HOME}", f"HOME={HOME}")
SERVICE = (
    *("systemd-run", "--quiet", "--pipe", "--wait", "--collect", "-E", "PYTHONPATH"),
    *("-E", "HOME=/root", "--working-directory=/opt/sanderling"),
)


@dataclass(frozen=True)
class Machine:
    """
    name: what is the matter with it.
    before: a command that makes it so. start: how programs are started there.
    said: what `doctor` must say, as a pattern.
    is_fit: boxes can be made all the same.
    is_mended: the command that `doctor` names makes it fit.
    """

    name: str
    start: tuple[str, ...]
    said: str
    before: str = "true"
    is_fit: bool = False
    is_mended: bool = False


MACHINES = {
    "settings": [
        Machine(
            "user namespaces are forbidden by number",
            AS_USER,
            r"missing user namespaces: .*\n +echo user.max_user_namespaces=15000",
            before="sysctl -q -w user.max_user_namespaces=0",
            is_mended=True,
        ),
        Machine(
            "user namespaces are forbidden to plain users",
            AS_USER,
            r"missing user namespaces: .*\n +echo kernel.unprivileged_userns_clone=1",
            before="sysctl -q -w kernel.unprivileged_userns_clone=0",
            is_mended=True,
        ),
        Machine(
            "a container in which namespaces cannot be made",
            (*SERVICE, "-p", "RestrictNamespaces=yes"),
            r"missing user namespaces: .*\n +In a container, allow it to make namespaces",
        ),
        Machine(
            "a container whose /proc is masked",
            (*SERVICE, "unshare", "--mount", "sh", "/opt/sanderling/tests/vm/guest/mask.sh"),
            r"missing proc: mount proc: .*\n +In a container, leave /proc unmasked",
        ),
        Machine(
            "a container whose filter does not know openat2",
            (*SERVICE, "-p", "SystemCallFilter=~openat2", "-p", "SystemCallErrorNumber=ENOSYS"),
            r"missing system calls: openat2 missing\n +Use Linux 5.13 or later; in a container",
        ),
        Machine(
            "a container whose root has no other uid",
            (*SERVICE, "-p", "PrivateUsers=yes"),
            r"Boxes never run as root, and root of this container has no uids",
        ),
        Machine(
            "a container whose control groups are read-only",
            (*SERVICE, "-p", "ProtectControlGroups=yes"),
            r"weaker  control groups: none to use",
            is_fit=True,
        ),
    ],
    "no-landlock": [
        Machine(
            "a kernel started without Landlock",
            SERVICE,
            r"missing Landlock: .*\n +Add landlock to the list of lsm=",
        ),
    ],
    "no-memory-controller": [
        Machine(
            "a kernel started without groups for memory",
            SERVICE,
            r"weaker  control groups: v2, without memory",
            is_fit=True,
        ),
    ],
}


def complaint(machine: Machine) -> str | None:
    """Try a machine; return what is wrong with what was said, or None."""
    subprocess.run(machine.before, shell=True, check=True)
    code, said = _run(machine, DOCTOR)
    if re.search(machine.said, said) is None:
        return f"the doctor said:\n{said}"
    if "Traceback" in said or (code == 0) != machine.is_fit:
        return f"exit code {code}:\n{said}"
    if machine.is_mended:
        (remedy,) = re.findall(r"^ +(echo .*)$", said, re.MULTILINE)
        subprocess.run(remedy, shell=True, check=True, stdout=subprocess.DEVNULL)
        code, said = _run(machine, DOCTOR)
        if code != 0:
            return f"the doctor's command did not mend it:\n{said}"
    code, said = _run(machine, CELL)
    ran = (code, said.strip()) == (0, "42")
    if ran != (machine.is_fit or machine.is_mended) or "Traceback" in said:
        return f"a cell ended with {code}:\n{said}"
    return None


def _run(machine: Machine, command: tuple[str, ...]) -> tuple[int, str]:
    done = subprocess.run(
        [*machine.start, *command],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def main(group: str) -> int:
    failed = 0
    for machine in MACHINES[group]:
        found = complaint(machine)
        print(f"ok      {machine.name}" if found is None else f"FAILED  {machine.name}: {found}")
        sys.stdout.flush()
        failed += found is not None
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
