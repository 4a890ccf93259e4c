"""
Is this machine fit to host boxes, and if not, what would make it so?

Every finding is tried, not guessed: namespaces are entered, the proc file system is mounted, and in
the end a real box is built and runs a cell, so that the last finding is the verdict and the others
say why. Nothing here prints; nothing is changed on the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import json
import os
import platform
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sanderling.environments import preloads, programs
from sanderling.environments.locate import find as find_environment
from sanderling.errors import MachineUnfit, SanderlingError
from sanderling.records import MEMORY_TIER_BYTES
from sanderling.sandbox import box_files, cgroup, levels, machine
from sanderling.sandbox.base import BoxLimits, Result
from sanderling.sandbox.box import Box
from sanderling.sandbox.egress import domains
from sanderling.sandbox.egress.host import Egress
from sanderling.sandbox.shown import CellEnded
from sanderling.sandbox.spawner import DEFAULT_PRELOAD, Spawner, ZygoteFacts
from sanderling.sandbox.wall import landlock, linux

# Landlock came with 5.13; openat2, pidfd_open and mount_setattr before it.
KERNEL_MIN = (5, 13)
# The smallest memory tier; below it no container at all can be made.
MEMORY_BYTES_MIN = min(MEMORY_TIER_BYTES.values())
_PROBE_DEADLINE_S = 20.0
_CELL_DEADLINE_S = 30.0
_DISK_BYTES = 64 << 20
_COSTLIEST = 3  # modules named
_GIB = 1 << 30

_NR_FSOPEN = 430
# What may forbid user namespaces: name, the values that do, and one that does not.
_SETTINGS: tuple[tuple[str, Callable[[int], bool], int], ...] = (
    ("kernel.apparmor_restrict_unprivileged_userns", bool, 0),  # Ubuntu, from 23.10 on
    ("kernel.unprivileged_userns_clone", lambda value: value == 0, 1),  # Debian's own
    ("user.max_user_namespaces", lambda value: value == 0, 15000),  # RHEL, hardened machines
)
_SECCOMP_ACTIONS = Path("/proc/sys/kernel/seccomp/actions_avail")
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - it is looked at, not used
_ANOTHER_USER = (
    "Run it as a user with a name and with a range in /etc/subuid and /etc/subgid, with "
    "newuidmap installed, on Linux 6.3 or later."
)
_SYSCTL_FILE = "/etc/sysctl.d/60-sanderling.conf"
_NO_GROUPS_REMEDY = (
    "Start it as a service with groups of its own: "
    "systemd-run --user --scope -p Delegate=yes sanderling serve"
)
_GROUPS_REMEDY = {
    "v1": "sudo mount -t cgroup -o NAME NAME /sys/fs/cgroup/NAME for each NAME that is missing",
    "v2": "See what the machine turned off: grep -o 'cgroup_[^ ]*' /proc/cmdline (a Raspberry Pi "
    "wants cgroup_enable=memory there).",
    "delegated": "sudo mkdir -p /etc/systemd/system/user@.service.d && printf "
    "'[Service]\\nDelegate=cpu memory pids\\n' | sudo tee "
    "/etc/systemd/system/user@.service.d/delegate.conf, then log in again.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing that was looked at.

    ok: True, False (no box can be built), or None (it works, but weaker than it could).
    remedy: the exact command, or the sentence where no command can help; None when ok is True.
    """

    name: str
    ok: bool | None
    detail: str
    remedy: str | None = None


async def examine(
    env: Path | None, *, egress_domains: str = "", preload: str = preloads.NONE
) -> list[Finding]:
    """
    Look at this machine and at the guest environment `env` (None: where `setup` builds it).

    egress_domains: the operator's list of what boxes may be let reach; see `egress/domains.py`.
    preload: what a server loads before it forks boxes, as `preloads.parse` reads it.

    Returns the findings in the order a reader should mend them; the last one is the real box.
    """
    findings = [_system(), _architecture(), *await _namespaces(), _seccomp(), _landlock()]
    findings += [_system_calls(), _control_groups(), _memory(), _shared_memory()]
    findings += [await asyncio.to_thread(_environment, env), _programs()]
    findings += [await _network(egress_domains)]
    findings += [await _gvisor(env), _vm()]
    findings += await _box(env, findings, preload)
    return findings


# ---- the kernel of the machine -----------------------------------------------------------------


def _system() -> Finding:
    release = platform.release()
    found = re.match(r"(\d+)\.(\d+)", release)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    wanted = ".".join(map(str, KERNEL_MIN))
    detail = f"{platform.system()} {release}"
    if platform.system() == "Linux" and version >= KERNEL_MIN:
        return Finding("Linux", True, detail)
    return Finding("Linux", False, detail, f"Use Linux {wanted} or later.")


def _architecture() -> Finding:
    if linux.IS_SUPPORTED:
        return Finding("processor", True, linux.MACHINE)
    return Finding("processor", False, linux.MACHINE, "Use an x86_64 or aarch64 machine.")


def _seccomp() -> Finding:
    try:
        actions = _SECCOMP_ACTIONS.read_text().split()
    except OSError:
        actions = []
    if {"kill_process", "errno", "allow"} <= set(actions):
        return Finding("seccomp", True, "filters are available")
    remedy = "Boot a kernel built with CONFIG_SECCOMP_FILTER=y (every distribution's own is)."
    return Finding("seccomp", False, "this kernel has no seccomp filters", remedy)


def _landlock() -> Finding:
    abi = landlock.abi()
    if abi > 0:
        return Finding("Landlock", True, f"ABI {abi}")
    return Finding(
        "Landlock",
        False,
        "this kernel was built or started without it",
        "Add landlock to the list of lsm= on the kernel's command line: put "
        'GRUB_CMDLINE_LINUX="lsm=landlock,lockdown,yama,integrity,apparmor,bpf" into '
        "/etc/default/grub, run `sudo update-grub` and reboot.",
    )


def _system_calls() -> Finding:
    attempts: dict[str, Callable[[], object]] = {
        "openat2": box_files.try_out,
        "pidfd_open": lambda: os.close(os.pidfd_open(os.getpid())),
        "fsopen": _fsopen,
    }
    missing: list[str] = []
    for name, attempt in attempts.items():
        try:
            attempt()
        except OSError as error:
            if error.errno == errno.ENOSYS:
                missing.append(name)
    if not missing:
        return Finding("system calls", True, ", ".join(attempts))
    remedy = (
        "Use Linux 5.13 or later; in a container also a runtime whose filter knows these calls: "
        "docker run --security-opt seccomp=unconfined …"
    )
    return Finding("system calls", False, f"{', '.join(missing)} missing", remedy)


def _fsopen() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(ctypes.c_long(_NR_FSOPEN), ctypes.c_char_p(b"tmpfs"), ctypes.c_uint(1))
    if fd < 0:
        raise OSError(ctypes.get_errno(), "fsopen")
    os.close(fd)


# ---- namespaces --------------------------------------------------------------------------------


async def _namespaces() -> list[Finding]:
    """Enter them in a process of their own, and mount what a box needs there."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", __name__, "probe"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(_PROBE_DEADLINE_S):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        output = b""
    try:
        refused: dict[str, str | None] = json.loads(output)
    except ValueError:
        refused = {"namespaces": "the attempt did not come back", "proc": "not tried"}
    return [_user_namespaces(refused.get("namespaces")), _proc(refused.get("proc"))]


def _user_namespaces(refusal: str | None) -> Finding:
    if refusal is None:
        return Finding("user namespaces", True, "can be entered")
    return Finding("user namespaces", False, refusal, _namespaces_remedy())


def _namespaces_remedy(sysctl: Path = Path("/proc/sys")) -> str:
    """The one setting that stands in the way, as far as the machine tells."""
    for name, is_in_the_way, value in _SETTINGS:
        with contextlib.suppress(OSError, ValueError):
            if is_in_the_way(int((sysctl / name.replace(".", "/")).read_text())):
                return f"echo {name}={value} | sudo tee -a {_SYSCTL_FILE} && sudo sysctl --system"
    return (
        "In a container, allow it to make namespaces: docker run --security-opt "
        "seccomp=unconfined --security-opt apparmor=unconfined --security-opt "
        "systempaths=unconfined … (Kubernetes: securityContext.seccompProfile.type: Unconfined, "
        "procMount: Unmasked)."
    )


def _proc(refusal: str | None) -> Finding:
    if refusal is None:
        return Finding("proc", True, "can be mounted in a namespace")
    return Finding(
        "proc",
        False,
        refusal,
        "In a container, leave /proc unmasked: docker run --security-opt systempaths=unconfined … "
        "(Kubernetes: securityContext.procMount: Unmasked with hostUsers: false).",
    )


def probe_namespaces() -> dict[str, str | None]:
    """
    Enter the namespaces of a box in this process and mount /proc there; return what was refused.

    The process is spent afterwards: it is called in one of its own.
    """
    refused: dict[str, str | None] = {"namespaces": None, "proc": "not tried"}
    uid, gid = os.geteuid(), os.getegid()
    try:
        linux.unshare(linux.CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
        linux.unshare(
            linux.CLONE_NEWNS
            | linux.CLONE_NEWPID
            | linux.CLONE_NEWNET
            | linux.CLONE_NEWIPC
            | linux.CLONE_NEWUTS
        )
        # AppArmor lets the namespace be made and takes away what one could do in it.
        linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
    except OSError as error:
        refused["namespaces"] = str(error)
        return refused
    refused["proc"] = _mount_proc_in_child()
    return refused


def _mount_proc_in_child() -> str | None:
    """The first child is in the new pid namespace, whose /proc may be mounted."""
    child = os.fork()
    if child == 0:
        number = 0
        try:
            flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
            linux.mount("proc", "/proc", "proc", flags)
        except OSError as error:
            number = error.errno or errno.EIO
        os._exit(number)
    _, status = os.waitpid(child, 0)
    number = os.waitstatus_to_exitcode(status)
    return None if number == 0 else f"mount proc: {os.strerror(abs(number))}"


# ---- what boxes are given ----------------------------------------------------------------------


def _control_groups() -> Finding:
    groups = cgroup.find(cgroup.host_folder())
    groups.close()
    name = "control groups"
    if not groups.missing:
        return Finding(name, True, groups.kind)
    soft = ", ".join(groups.soft_limits) or "the count of processes that were refused"
    if groups.kind == "none":
        return Finding(name, None, f"none to use; soft limits instead on {soft}", _NO_GROUPS_REMEDY)
    detail = f"{groups.kind} without {', '.join(groups.missing)}; soft limits instead on {soft}"
    return Finding(name, None, detail, _GROUPS_REMEDY[groups.kind])


def _memory() -> Finding:
    total = machine.memory_bytes()
    tiers = [tier for tier, size in MEMORY_TIER_BYTES.items() if size <= total]
    detail = f"{total / _GIB:.1f} GiB; containers of {', '.join(tiers) or 'no size'}"
    if total >= MEMORY_BYTES_MIN:
        return Finding("memory", True, detail)
    return Finding("memory", False, detail, "Give the machine or the container 1 GiB or more.")


def _shared_memory() -> Finding:
    """Boxes have a /dev/shm of their own; libraries of the server may want the machine's."""
    if os.access(_SHARED_MEMORY, os.W_OK):
        return Finding("shared memory", True, _SHARED_MEMORY)
    remedy = f"sudo mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs {_SHARED_MEMORY}"
    return Finding("shared memory", None, f"{_SHARED_MEMORY} cannot be written to", remedy)


def _environment(env: Path | None) -> Finding:
    try:
        found = find_environment(env)
    except SanderlingError as error:
        remedy = "sanderling setup" if env is None else f"sanderling setup --env {env}"
        return Finding("guest environment", False, error.message, remedy)
    if not os.access(found.python, os.X_OK):
        detail = f"{found.python} cannot be run by this user"
        return Finding("guest environment", False, detail, f"chmod -R a+rX {found.path}")
    detail = f"Python {found.python_version}, {len(found.packages)} packages, in {found.path}"
    return Finding("guest environment", True, detail)


def _programs() -> Finding:
    name = "programs"
    lacking = programs.missing()
    if not lacking:
        return Finding(name, True, ", ".join(programs.PROGRAMS))
    detail = f"code in boxes does without {', '.join(lacking)}"
    return Finding(name, None, detail, programs.remedy(lacking))


async def _network(egress_domains: str) -> Finding:
    """The proxy is started and ended, if boxes may have a way out at all."""
    name = "network"
    try:
        allowed = domains.operators_list(egress_domains)
    except domains.NotADomain as error:
        return Finding(name, False, str(error), "Mend egress_domains, or leave it away.")
    if not allowed:
        return Finding(name, True, "boxes have none (egress_domains is empty)")
    with tempfile.TemporaryDirectory() as folder:
        egress = Egress(allowed, Path(folder, "egress.log"))
        try:
            await egress.open()
        except SanderlingError as error:
            return Finding(name, False, error.message, "Leave egress_domains away.")
        finally:
            await egress.close()
    named = ", ".join("every public domain" if a == domains.ANY else a for a in allowed)
    return Finding(name, True, f"boxes may be let reach {named}, through a proxy that was tried")


# ---- stronger levels ---------------------------------------------------------------------------


async def _gvisor(env: Path | None) -> Finding:
    try:
        found = await asyncio.to_thread(find_environment, env)
    except SanderlingError:
        return Finding("isolation gvisor", None, "not tried", "Mend the guest environment.")
    detail, reason = await levels.try_gvisor(found.path)
    if reason is None:
        return Finding("isolation gvisor", True, f"available: {detail}")
    return Finding("isolation gvisor", None, detail, reason)


def _vm() -> Finding:
    return Finding("isolation vm", None, "not offered by this version", levels.VM_REMEDY)


# ---- the verdict -------------------------------------------------------------------------------


async def _box(env: Path | None, findings: list[Finding], preload: str) -> list[Finding]:
    """Build a box, run `1+1` in it, end it; with it come its uids, and what is preloaded."""
    name = "a box"
    remedy = "Mend what is missing above." if _is_unfit(findings) else None
    found: list[Finding] = []
    began = time.monotonic()
    try:
        python = await asyncio.to_thread(find_environment, env)
        asked = preloads.parse(preload)
        spawner = await Spawner.start(
            env=python.path,
            disk_bytes=_DISK_BYTES,
            logs_bytes_max=1 << 16,
            preload=asked.modules(DEFAULT_PRELOAD),
            required=asked.required,
        )
        try:
            found.append(_uids(spawner.facts))
            if spawner.facts.modules or spawner.facts.missing:
                found.append(_preload(spawner.facts))
            answer = await _one_and_one(spawner)
        finally:
            await spawner.close()
    except SanderlingError as error:
        is_told = isinstance(error, MachineUnfit)
        unexpected = "Mend what it names." if is_told else "Report this: it is not expected."
        return [*found, Finding(name, False, error.message, remedy or unexpected)]
    if answer != "2":
        detail = f"1+1 was answered by {answer!r}"
        unexpected = remedy or "Report this: it is not expected."
        return [*found, Finding(name, False, detail, unexpected)]
    took_ms = (time.monotonic() - began) * 1000
    verdict = f"was built, ran a cell and was ended, in {took_ms:.0f} ms"
    return [*found, Finding(name, True, verdict)]


def _uids(facts: ZygoteFacts) -> Finding:
    """What the zygote's own trial came to."""
    name = "uids"
    if facts.uids == "single":
        detail = f"every box runs as this user: {facts.uids_weakness}"
        return Finding(name, None, detail, facts.uids_remedy or _ANOTHER_USER)
    whose = "of its own" if facts.uids == "range" else "of this user's subordinate range"
    return Finding(name, True, f"each box has one {whose} ({facts.uids})")


def _preload(facts: ZygoteFacts) -> Finding:
    """What the zygote loaded, what of it took longest, and what was not there to load."""
    costs = sorted(facts.costs, key=lambda cost: -cost[1])[:_COSTLIEST]
    detail = f"{len(facts.modules)} modules in {facts.preload_ms:,.0f} ms, once; slowest: "
    detail += ", ".join(
        f"{name} ({ms:,.0f} ms, {bytes / (1 << 20):,.0f} MiB)" for name, ms, bytes in costs
    )
    if not facts.missing:
        return Finding("preload", True, detail)
    absent = f"{detail}; not installed: {', '.join(facts.missing)}"
    return Finding("preload", None, absent, "Name what is there with --preload.")


async def _one_and_one(spawner: Spawner) -> str | None:
    """Return what a cell `1+1` shows in a fresh box."""
    box = await spawner.spawn()
    try:
        await box.configure(BoxLimits(memory_bytes=min(_GIB, machine.memory_bytes())))
        async with asyncio.timeout(_CELL_DEADLINE_S):
            return await _result_of(box, "1+1")
    except TimeoutError:
        return None
    finally:
        box.kill()
        await box.wait_dead()
        box.release()


async def _result_of(box: Box, code: str) -> str | None:
    result: str | None = None
    async for shown in box.run_cell(code):
        match shown:
            case Result(text):
                result = text
            case CellEnded("died", _, _):
                return None
            case _:
                pass
    return result


def _is_unfit(findings: list[Finding]) -> bool:
    return any(finding.ok is False for finding in findings)


if __name__ == "__main__":
    signal.alarm(int(_PROBE_DEADLINE_S))
    sys.stdout.write(json.dumps(probe_namespaces()))
