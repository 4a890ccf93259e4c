"""
Writes the lock files: `uv.lock` for the server, one list per Python for the guest environment.

Versions that are locked stay as they are; `--upgrade` or `--upgrade-package NAME` moves them. The
files must hold no address but PyPI's, whatever mirror this machine uses, or they would not install
anywhere else: that is checked before they are left in place.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import uv

from sanderling.environments.lock import LOCKS, REQUIREMENTS

TOP = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
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
        for version in PYTHONS:
            lock_guest(version, moved)
    except subprocess.CalledProcessError as error:
        return int(error.returncode)
    return report_addresses(TOP / "uv.lock", *LOCKS.glob("*.txt"))


def run_uv(*arguments: str, folder: Path) -> None:
    """Run uv in `folder`, its output shown."""
    environ = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    subprocess.run([uv.find_uv_bin(), *arguments], cwd=folder, env=environ, check=True)


def lock_guest(version: str, moved: list[str]) -> None:
    """Resolve `requirements.in` for Python `version` on Linux."""
    target = LOCKS / f"python-{version}.txt"
    print(f"{target.relative_to(TOP)}", flush=True)
    options = ["--quiet", "--generate-hashes", "--only-binary", ":all:", "--no-emit-index-url"]
    options += ["--custom-compile-command", "make lock", "--python-platform", "linux"]
    options += ["--python-version", version, "--output-file", f"locks/{target.name}"]
    # From its own folder, so that the comments name files the same way on every machine.
    run_uv("pip", "compile", *options, *moved, REQUIREMENTS.name, folder=REQUIREMENTS.parent)


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
