"""
A user without rights, and a server that this user can run.

The user is a number that stands in no user database, as in many containers. The server is the one
under test if that user can read it, else a copy in /var/tmp that is kept between runs.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uv

from sanderling.environments import builder
from sanderling.environments.environment import Environment

TOP = Path(__file__).resolve().parents[1]
# Each worker of a parallel run has a user of its own: what a user may have, such as processes, is
# counted for all that the user runs.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
PLAIN_UID = 12345 + _WORKER
SUBUID_FIRST = 200_000 + 65_536 * _WORKER

READ_EVERYTHING = """
import pathlib, sanderling
for path in pathlib.Path(sanderling.__file__).parent.rglob("*.*"):
    path.is_dir() or path.open("rb").close()
"""


@dataclass(frozen=True)
class PlainUser:
    """A user with a home folder and nothing else."""

    uid: int
    gid: int
    home: Path

    def environ(self, **variables: str) -> dict[str, str]:
        """Return the environment variables of a login, and `variables`."""
        return {"HOME": str(self.home), "PATH": os.defpath, "LANG": "C.UTF-8", **variables}

    def options(self, **variables: str) -> dict[str, Any]:
        """Return the arguments of `subprocess.run` or `Popen` that run a program as this user."""
        return {
            "user": self.uid,
            "group": self.gid,
            "extra_groups": [],
            "cwd": self.home,
            "env": self.environ(**variables),
        }

    def command(self, *command: str | Path) -> list[str]:
        """Return the command line, for `options`, that runs `command` as this user."""
        return [str(part) for part in command]

    def can_run(self, python: Path, code: str) -> bool:
        """Say whether `python -c code` succeeds as this user."""
        try:
            done = subprocess.run(
                [python, "-I", "-c", code], capture_output=True, check=False, **self.options()
            )
        except PermissionError:
            return False
        return done.returncode == 0


@dataclass(frozen=True)
class SubuidUser(PlainUser):
    """
    The same user with a name and a range of subordinate uids.

    The machine's own user database is not touched: the user's processes see another one, mounted
    over it in a mount namespace of theirs.
    """

    database: Path  # a folder with passwd, subuid and subgid

    def options(self, **variables: str) -> dict[str, Any]:
        return {"cwd": self.home, "env": self.environ(**variables)}

    def command(self, *command: str | Path) -> list[str]:
        become = (
            'for name in passwd subuid subgid; do mount --bind "$0/$name" "/etc/$name"; done; '
            f'exec setpriv --reuid={self.uid} --regid={self.gid} --clear-groups -- "$@"'
        )
        enter = ["unshare", "--mount", "--propagation=private", "sh", "-ec", become]
        return [*enter, str(self.database), *super().command(*command)]


@dataclass(frozen=True)
class PlainServer:
    """An interpreter with the server installed, and a guest environment, for a plain user."""

    python: Path
    guest_env: Environment


@contextmanager
def plain_user() -> Iterator[PlainUser]:
    """Make the plain user's home, and remove it with what is in it. Only for root."""
    # Not pytest's tmp_path, whose parents only root may enter.
    home = Path(tempfile.mkdtemp(prefix="sanderling-home-", dir="/var/tmp"))
    try:
        os.chown(home, PLAIN_UID, PLAIN_UID)
        yield PlainUser(uid=PLAIN_UID, gid=PLAIN_UID, home=home)
    finally:
        shutil.rmtree(home)


@contextmanager
def subuid_user() -> Iterator[SubuidUser]:
    """Make the plain user's twin with a uid range, which owns nothing. Only for root."""
    name = "sanderling-test"
    with plain_user() as user, tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        database = Path(folder)
        line = f"{name}:x:{user.uid}:{user.gid}::{user.home}:/bin/sh\n"
        (database / "passwd").write_text(Path("/etc/passwd").read_text() + line)
        # One entry by number, one by name: both are allowed.
        (database / "subuid").write_text(f"{user.uid}:{SUBUID_FIRST}:65536\n")
        (database / "subgid").write_text(f"{name}:{SUBUID_FIRST}:65536\n")
        for file in (database, *database.iterdir()):
            file.chmod(0o755)
        yield SubuidUser(uid=user.uid, gid=user.gid, home=user.home, database=database)


def server_for(user: PlainUser, guest_env: Environment) -> PlainServer | None:
    """Return a server that `user` can run; None if this machine has no Python for that."""
    python = Path(sys.executable)
    own_server = user.can_run(python, READ_EVERYTHING)
    own_guest = user.can_run(guest_env.python, "import encodings, site")
    if own_server and own_guest:
        return PlainServer(python=python, guest_env=guest_env)
    base = _base_for(user)
    if base is None:
        return None
    # Each checkout has its own copy: two of them may be tested at the same time.
    ours = hashlib.sha256(os.fsencode(TOP) + (TOP / "uv.lock").read_bytes()).hexdigest()[:16]
    with kept_folder(ours) as folder:
        if not own_server:
            python = _install_server(folder / "server", base)
        if not own_guest:
            guest_env = builder.build(folder / "env", base, print)
    return PlainServer(python=python, guest_env=guest_env)


def _base_for(user: PlainUser) -> Path | None:
    """Return a supported base interpreter that `user` can run."""
    own = Path(os.path.realpath(sys._base_executable))  # type: ignore[attr-defined]
    found = [shutil.which(f"python3.{minor}", path=os.defpath) for minor in (11, 12, 13)]
    for python in [own, *(Path(name) for name in found if name)]:
        if user.can_run(python, "import ensurepip"):
            return python
    return None


@contextmanager
def kept_folder(key: str) -> Iterator[Path]:
    """Yield a folder that everybody can read, one per `key`, to one process at a time."""
    folder = Path("/var/tmp") / f"sanderling-tests-{os.getuid()}-{key}"
    folder.mkdir(exist_ok=True)
    assert folder.stat().st_uid == os.getuid(), f"{folder} belongs to somebody else; remove it"
    folder.chmod(0o755)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def _install_server(folder: Path, base: Path) -> Path:
    """Install the locked dependencies and this source tree into `folder`; return its Python."""
    python = folder / "bin" / "python"
    requirements = export_requirements(folder.with_suffix(".txt"))
    if not python.exists():
        run_uv("venv", "--quiet", "--clear", "--python", base, folder)
    run_uv("pip", "sync", "--quiet", "--python", python, requirements)
    # Always anew: the sources may have changed since, which the version does not say.
    fresh = ["--reinstall-package", "sanderling", "--refresh-package", "sanderling"]
    run_uv("pip", "install", "--quiet", "--no-deps", *fresh, "--python", python, TOP)
    return python


def export_requirements(path: Path) -> Path:
    """Write the server's locked dependencies, without hashes, to `path`; return it."""
    options = ["--frozen", "--no-dev", "--no-emit-project", "--no-hashes", "--quiet"]
    run_uv("export", *options, "--output-file", path, folder=TOP)
    return path


def run_uv(*arguments: str | Path, folder: Path = Path("/")) -> None:
    """Run `uv` in `folder`, untouched by what virtual environment we run in."""
    environ = {k: v for k, v in os.environ.items() if k not in {"VIRTUAL_ENV", "UV_PYTHON"}}
    command = [uv.find_uv_bin(), *arguments]
    subprocess.run(command, cwd=folder, env=environ, umask=0o022, check=True)
