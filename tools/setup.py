"""
Makes a checkout ready: `.venv` with the locked packages, then the guest environment.

Runs on any Python 3.11 or newer with nothing installed. What is done already is not done again: the
second run takes well under two seconds. `--dev` adds what the tests and `make lint` need.

uv, which does the installing, comes from PyPI at the version and hashes in `uv.lock`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
VENV = TOP / ".venv"
STAMP = VENV / "sanderling-setup.json"

# Names another environment than this checkout's.
MISLEADING = ("PYTHONHOME", "PYTHONPATH", "UV_PROJECT_ENVIRONMENT", "UV_PYTHON", "VIRTUAL_ENV")


def main() -> int:
    """Bring the checkout up to date; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--dev", action="store_true", help="also what the tests and linters need")
    dev: bool = parser.parse_args().dev
    try:
        make_venv()
        install_packages(dev=dev)
        build_guest_environment()
    except subprocess.CalledProcessError as error:
        print(f"Setup stopped: {' '.join(map(str, error.cmd))} failed.", file=sys.stderr)
        return 1
    return 0


def say(line: str) -> None:
    """Print a line of progress at once, also into a pipe."""
    print(line, flush=True)


def run(*command: str | Path) -> None:
    """Run a command with the checkout as its folder, its output shown."""
    environ = {name: value for name, value in os.environ.items() if name not in MISLEADING}
    environ["UV_PYTHON_DOWNLOADS"] = "never"
    subprocess.run(command, cwd=TOP, env=environ, check=True)


def base_of(python: Path) -> str | None:
    """Return the real path of the interpreter `python` is built on; None if it does not run."""
    question = "import os, sys; print(os.path.realpath(sys._base_executable))"
    try:
        answer = subprocess.run(
            [python, "-I", "-c", question], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


def make_venv() -> None:
    """Make `.venv` on the interpreter that runs this, unless it is there and works."""
    base = os.path.realpath(sys._base_executable)  # type: ignore[attr-defined]  # noqa: SLF001
    if base_of(VENV / "bin" / "python") == base:
        return
    say(f"[1/3] Making .venv with {base}")
    run(base, "-m", "venv", "--clear", VENV)


def install_packages(*, dev: bool) -> None:
    """Install the locked packages and this checkout (editable) into `.venv`."""
    locked = (TOP / "uv.lock").read_bytes() + (TOP / "pyproject.toml").read_bytes()
    digest = hashlib.sha256(locked).hexdigest()
    done = json.loads(STAMP.read_text()) if STAMP.exists() else {}
    if done.get("digest") == digest and (done["dev"] or not dev):
        return
    say("[2/3] Installing the server's packages into .venv")
    install_uv()
    groups = ["--dev"] if dev else ["--no-dev"]
    # Inexact: pip stays, and whatever else a developer has put there.
    run(VENV / "bin" / "uv", "sync", "--frozen", "--inexact", "--python", VENV, *groups)
    STAMP.write_text(json.dumps({"digest": digest, "dev": dev}) + "\n")


def install_uv() -> None:
    """Install uv into `.venv` with pip, at the version and hashes in `uv.lock`."""
    lock = tomllib.loads((TOP / "uv.lock").read_text())
    (package,) = (package for package in lock["package"] if package["name"] == "uv")
    hashes = " ".join(f"--hash={wheel['hash']}" for wheel in package["wheels"])
    wanted = VENV / "uv-requirement.txt"
    wanted.write_text(f"uv=={package['version']} {hashes}\n")
    options = ["--quiet", "--disable-pip-version-check", "--require-hashes", "--only-binary=:all:"]
    run(VENV / "bin" / "python", "-m", "pip", "install", *options, "-r", wanted)


def build_guest_environment() -> None:
    """Build `.sanderling/env`, unless SANDERLING_ENV names the environment to use."""
    if named := os.environ.get("SANDERLING_ENV"):
        say(f"[3/3] The guest environment is the one SANDERLING_ENV names: {named}")
        return
    say("[3/3] The guest environment, where the model's code runs")
    run(VENV / "bin" / "sanderling", "setup")


if __name__ == "__main__":
    sys.exit(main())
