"""
Writes the lock files: `uv.lock` for the server, one list per profile and Python for guests.

Versions that are locked stay as they are; `--upgrade` or `--upgrade-package NAME` moves them. The
files must hold no address but PyPI's, whatever mirror this machine uses, or they would not install
anywhere else: that is checked before they are left in place.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import uv

from sanderling.environments import lock

TOP = Path(__file__).resolve().parents[1]
PYTHONS = {
    "default": ("3.11", "3.12", "3.13"),
    "full": ("3.11", "3.12", "3.13"),
    "classic": ("3.11",),  # no later Python has wheels of that core
}
PUBLIC = re.compile(r"https://(pypi\.org/simple|files\.pythonhosted\.org/)")


def main() -> int:
    """Write all lock files; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--upgrade", action="store_true", help="take the newest of everything")
    parser.add_argument("--upgrade-package", action="append", default=[], metavar="NAME")
    arguments = parser.parse_args()
    moved = ["--upgrade"] if arguments.upgrade else []
    for name in arguments.upgrade_package:
        moved += ["--upgrade-package", name]
    try:
        run_uv("lock", *moved, folder=TOP)
        for profile, versions in PYTHONS.items():
            for version in versions:
                lock_guest(profile, version, moved)
            lock_source(profile, moved)
    except subprocess.CalledProcessError as error:
        return int(error.returncode)
    return report_addresses(TOP / "uv.lock", *lock.LOCKS.rglob("*.txt"))


def run_uv(*arguments: str, folder: Path) -> None:
    """Run uv in `folder`, its output shown."""
    environ = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    subprocess.run([uv.find_uv_bin(), *arguments], cwd=folder, env=environ, check=True)


def lock_guest(profile: str, version: str, moved: list[str]) -> None:
    """Resolve a profile's requirements for Python `version` on Linux."""
    target = lock.folder_of(profile) / f"python-{version}.txt"
    target.parent.mkdir(exist_ok=True)
    if profile == "full" and not target.exists():
        # Versions as in the default profile, as far as the others allow.
        shutil.copyfile(lock.LOCKS / target.name, target)
    options = ["--python-version", version, "--only-binary", ":all:"]
    compile_into(target, lock.requirements_of(profile), [*options, *moved])


def lock_source(profile: str, moved: list[str]) -> None:
    """Pin what is built from source, and what builds it; every Python takes the same."""
    folder = lock.folder_of(profile)
    source = ["--no-deps", "--only-binary", ":all:"]
    for requirement in lock.SOURCE_REQUIREMENTS.read_text().split("\n"):
        if requirement and not requirement.startswith("#"):
            source += ["--no-binary", requirement]
    compile_into(folder / lock.SOURCE_NAME, lock.SOURCE_REQUIREMENTS, [*source, *moved])
    build = ["--no-deps", "--only-binary", ":all:"]
    compile_into(folder / lock.BUILD_NAME, lock.BUILD_REQUIREMENTS, [*build, *moved])


def compile_into(target: Path, requirements: Path, options: list[str]) -> None:
    """Write the pinned and hashed list of `requirements`."""
    print(f"{target.relative_to(TOP)}", flush=True)
    usual = ["--quiet", "--generate-hashes", "--no-emit-index-url"]
    usual += ["--custom-compile-command", "make lock", "--python-platform", "linux"]
    # From its own folder, so that the comments name files the same way on every machine.
    folder = requirements.parent
    output = ["--output-file", str(target.relative_to(folder))]
    run_uv("pip", "compile", *usual, *options, *output, requirements.name, folder=folder)


def report_addresses(*locks: Path) -> int:
    """Print every line with an address that only this machine has; return 1 if there is one."""
    status = 0
    for path in locks:
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            if "://" in line and not PUBLIC.search(line):
                print(f"{path}:{number}: not PyPI: {line.strip()}", file=sys.stderr)
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
