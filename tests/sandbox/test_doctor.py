from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sanderling.environments.environment import Environment
from sanderling.errors import MachineUnfit
from sanderling.sandbox import doctor, spawner
from sanderling.sandbox.doctor import Finding, examine

NAMES = [
    "Linux",
    "processor",
    "user namespaces",
    "proc",
    "seccomp",
    "Landlock",
    "system calls",
    "control groups",
    "memory",
    "shared memory",
    "guest environment",
    "programs",
    "network",
    "isolation gvisor",
    "isolation vm",
    "uids",
    "a box",
]


def sysctl(root: Path, **values: int) -> Path:
    for name, value in values.items():
        path = root.joinpath(*name.split("__"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return root


@pytest.mark.sandbox
async def test_a_fit_machine_is_found_fit_by_a_real_box(guest_env: Environment):
    findings = await examine(guest_env.path)

    assert [finding.name for finding in findings] == NAMES
    assert findings[-1].ok is True
    assert not any(finding.ok is False for finding in findings)
    assert all(finding.remedy is None for finding in findings if finding.ok)
    assert all(finding.remedy for finding in findings if not finding.ok)


@pytest.mark.sandbox
async def test_examining_leaves_no_group_behind(guest_env: Environment):
    def groups() -> set[str]:
        return {
            os.path.join(top, name)
            for top, names, _ in os.walk("/sys/fs/cgroup")
            for name in names
            if "sanderling-doctor" in name
        }

    await examine(guest_env.path)

    assert groups() == set()


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("egress_domains", "is_ok", "detail"),
    [
        ("", True, "none"),
        (
            "pypi.org, *.example.org",
            True,
            "pypi.org, *.example.org, through a proxy that was tried",
        ),
        ("*", True, "every public domain"),
        ("10.0.0.1", False, "Addresses are never allowed"),
    ],
)
async def test_what_boxes_may_be_let_reach_is_said_and_the_proxy_tried(
    tmp_path: Path, egress_domains: str, is_ok: bool, detail: str
):
    found = {f.name: f for f in await examine(tmp_path, egress_domains=egress_domains)}

    assert found["network"].ok is is_ok
    assert detail in found["network"].detail


async def test_without_an_environment_the_machine_is_still_examined(tmp_path: Path):
    findings = {finding.name: finding for finding in await examine(tmp_path)}

    assert list(findings) == [name for name in NAMES if name != "uids"]
    assert findings["Linux"].ok
    assert findings["guest environment"].ok is False
    assert findings["guest environment"].remedy == f"sanderling setup --env {tmp_path}"
    assert findings["a box"].ok is False
    assert findings["a box"].remedy == "Mend what is missing above."


async def test_a_box_that_cannot_be_built_is_the_verdict(
    guest_env: Environment, monkeypatch: pytest.MonkeyPatch
):
    async def refuses(**_: object) -> None:
        raise MachineUnfit("mount of /proc was refused")

    monkeypatch.setattr(spawner.Spawner, "start", refuses)
    verdict = (await examine(guest_env.path))[-1]

    assert verdict.ok is False
    assert verdict.detail == "mount of /proc was refused"
    assert verdict.remedy


@pytest.mark.parametrize(
    ("values", "command"),
    [
        (
            {"kernel__apparmor_restrict_unprivileged_userns": 1},
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ({"kernel__unprivileged_userns_clone": 0}, "kernel.unprivileged_userns_clone=1"),
        ({"user__max_user_namespaces": 0}, "user.max_user_namespaces=15000"),
        (
            {"kernel__unprivileged_userns_clone": 1, "user__max_user_namespaces": 0},
            "user.max_user_namespaces=15000",
        ),
        ({"user__max_user_namespaces": 9999}, "docker run"),
        ({}, "docker run"),
    ],
)
def test_the_remedy_names_the_setting_that_is_in_the_way(
    tmp_path: Path, values: dict[str, int], command: str
):
    assert command in doctor._namespaces_remedy(sysctl(tmp_path, **values))


def test_refused_namespaces_and_proc_are_findings_with_a_remedy():
    for finding in (
        doctor._user_namespaces("unshare 0x10000000: Operation not permitted"),
        doctor._proc("mount proc: Operation not permitted"),
    ):
        assert finding.ok is False
        assert "not permitted" in finding.detail
        assert finding.remedy


def test_a_machine_without_landlock_is_unfit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor.landlock, "abi", lambda: 0)
    finding = doctor._landlock()

    assert finding.ok is False
    assert "lsm=landlock" in (finding.remedy or "")


@pytest.mark.parametrize(
    ("release", "ok"),
    [("5.12.19", False), ("5.13.0-rc1", True), ("6.1.0-18-amd64", True), ("odd", False)],
)
def test_kernels_before_landlock_are_too_old(
    monkeypatch: pytest.MonkeyPatch, release: str, ok: bool
):
    monkeypatch.setattr(doctor.platform, "release", lambda: release)

    assert doctor._system().ok is ok


def test_a_small_machine_is_unfit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor.machine, "memory_bytes", lambda: 512 << 20)
    small = doctor._memory()
    monkeypatch.setattr(doctor.machine, "memory_bytes", lambda: 5 << 30)
    fit = doctor._memory()

    assert (small.ok, small.detail) == (False, "0.5 GiB; containers of no size")
    assert fit == Finding("memory", True, "5.0 GiB; containers of 1g, 4g")


def test_a_machine_without_groups_is_weaker_and_not_unfit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor.cgroup, "find", lambda _: doctor.cgroup.Cgroups("none", {}))
    finding = doctor._control_groups()

    assert finding.ok is None
    assert "Delegate=yes" in (finding.remedy or "")


def test_a_machine_without_some_groups_is_told_which(monkeypatch: pytest.MonkeyPatch):
    kept = dict.fromkeys(("pids", "cpu", "freezer"), Path("/nowhere"))
    monkeypatch.setattr(doctor.cgroup, "find", lambda _: doctor.cgroup.Cgroups("v2", kept))
    finding = doctor._control_groups()

    assert finding.ok is None
    assert finding.detail.startswith("v2 without memory; soft limits instead on the memory of")
    assert finding.remedy


def test_what_control_groups_lack_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    parents = {"memory": tmp_path / "m", "pids": tmp_path / "p"}
    found = doctor.cgroup.Cgroups("delegated", parents)
    monkeypatch.setattr(doctor.cgroup, "find", lambda _: found)
    finding = doctor._control_groups()

    assert finding.ok is None
    assert finding.detail.startswith("delegated without cpu, freezer; soft limits instead on")
    assert "Delegate=cpu" in (finding.remedy or "")


def test_the_probe_says_what_was_refused_in_a_process_of_its_own():
    output = subprocess.run(
        [sys.executable, "-P", "-m", "sanderling.sandbox.doctor"],
        check=True,
        capture_output=True,
        timeout=30,
    ).stdout

    assert set(json.loads(output)) == {"namespaces", "proc"}
