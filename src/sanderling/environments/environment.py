"""
A guest environment on disk: the folder, and what the sandbox must know to run code with it.

An environment that Sanderling built carries a stamp, `sanderling.json`, written last: a folder
without it is not one of ours and is never replaced. The stamp holds what only the environment's own
Python can tell (which folders outside the environment it reads, which packages it found), so that
opening an environment costs one small file and no process.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sanderling.errors import SetupError

STAMP_NAME = "sanderling.json"
PROBE = Path(__file__).with_name("probe.py")

# A Python that does not start within this time is on a dead network disk; it usually takes 0.05 s.
_PROBE_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Environment:
    """
    A Python environment whose packages the model's code may import.

    path: the environment's folder, absolute.
    python: its interpreter, below `path`; a chain of links to the base interpreter.
    base_prefixes: absolute folders that have to be readable in the box, each under exactly this
        name, for `python` to start: the environment, the base interpreter's prefix and standard
        library, the folders its links lead through, and those of the shared libraries it maps. A
        name may itself be a link (mount what it resolves to). The operating system's own /lib,
        /lib64 and loader are the sandbox's business.
    packages: distribution name as on PyPI, in lower case -> version.
    lock_digest: SHA-256 in hex of what it was built from; None if Sanderling did not build it.
    mpl_config: folder with matplotlib's font cache, made when the environment was built, to be
        copied to where MPLCONFIGDIR points in the box (matplotlib wants it writable). It does not
        exist in an environment without matplotlib or built by somebody else.
    """

    path: Path
    python: Path
    python_version: str
    base_prefixes: tuple[Path, ...]
    packages: Mapping[str, str]
    lock_digest: str | None
    mpl_config: Path


@dataclass(frozen=True, slots=True)
class Facts:
    """What a Python says of itself (`probe.py`)."""

    version: tuple[int, int, int]
    implementation: str
    base_executable: str
    folders: tuple[str, ...]
    packages: Mapping[str, str]

    @property
    def python_version(self) -> str:
        return ".".join(map(str, self.version))


def python_of(folder: Path) -> Path:
    """Return where the interpreter of the environment in `folder` is."""
    return folder / "bin" / "python"


def mpl_config_of(folder: Path) -> Path:
    """Return where the font cache of the environment in `folder` is."""
    return folder / "share" / "mplconfig"


def ask_python(python: Path) -> Facts:
    """
    Run `probe.py` with the interpreter `python` and return what it says.

    Raises:
        SetupError: there is no such program, or it is not a Python that works.
    """
    try:
        answer = subprocess.run(
            [python, "-I", PROBE],
            capture_output=True,
            text=True,
            timeout=_PROBE_TIMEOUT_S,
            check=True,
        )
        facts = json.loads(answer.stdout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(f"{python} cannot be run: {error}.") from error
    except subprocess.CalledProcessError as error:
        last_line = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise SetupError(f"{python} does not work as a Python: {last_line}") from error
    except ValueError as error:
        raise SetupError(f"{python} is not a Python interpreter.") from error
    return _facts(facts)


def describe(folder: Path, facts: Facts, *, lock_digest: str | None) -> Environment:
    """Return the environment in `folder`, given what its interpreter says of itself."""
    names = [folder, folder.resolve(), *map(Path, facts.folders)]
    return Environment(
        path=folder,
        python=python_of(folder),
        python_version=facts.python_version,
        base_prefixes=outermost(names),
        packages=facts.packages,
        lock_digest=lock_digest,
        mpl_config=mpl_config_of(folder),
    )


def write_stamp(
    folder: Path,
    facts: Facts,
    *,
    lock_digest: str | None,
    profile: str | None = None,
    named: Mapping[str, Any] | None = None,
) -> None:
    """
    Declare the environment in `folder` complete.

    profile: of a default environment. named: what a named one is (`catalog.Record`).
    """
    stamp = {"lock_digest": lock_digest, "profile": profile, "named": named, **asdict(facts)}
    (folder / STAMP_NAME).write_text(json.dumps(stamp, indent=1) + "\n")


def stamp_in(folder: Path) -> Mapping[str, Any]:
    """Return what the stamp in `folder` says; nothing if there is none that can be read."""
    try:
        stamp = json.loads((folder / STAMP_NAME).read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def read(folder: Path) -> tuple[Environment, Facts] | None:
    """
    Return the environment that Sanderling built in `folder`; None if there is none that works.

    None too when the interpreter it was built on is gone, or the folder cannot be read: for the
    caller, who wants to run code with it, that is the same.
    """
    stamp = stamp_in(folder)
    try:
        if not python_of(folder).exists():
            return None
        facts = _facts(stamp)
        return describe(folder, facts, lock_digest=stamp["lock_digest"]), facts
    except (OSError, ValueError, KeyError, TypeError):
        return None


def profile_in(folder: Path) -> str | None:
    """Return the profile of the environment in `folder`, whatever version built it."""
    profile = stamp_in(folder).get("profile")
    return profile if isinstance(profile, str) else None


def outermost(folders: Iterable[Path]) -> tuple[Path, ...]:
    """Return the folders without those that lie inside another one of them, sorted."""
    names = set(folders)
    return tuple(sorted(name for name in names if names.isdisjoint(name.parents)))


def _facts(said: Mapping[str, Any]) -> Facts:
    major, minor, micro = said["version"]
    return Facts(
        version=(major, minor, micro),
        implementation=said["implementation"],
        base_executable=said["base_executable"],
        folders=tuple(said["folders"]),
        packages=dict(said["packages"]),
    )
