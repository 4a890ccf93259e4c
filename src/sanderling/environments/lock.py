"""
The pinned and hashed lists of packages, one for each profile and Python of a guest environment.

`requirements.in` says what is wanted; `make lock` resolves it into `locks/python-3.NN.txt` with the
hash of every file. They travel inside the wheel, so that an installed server builds the very
environment it was tested with. Another profile has its lists in a folder of its name. Beside them
stand what has to be built from source (`source.txt`) and what it is built with (`build.txt`).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from sanderling.errors import SetupError

REQUIREMENTS = Path(__file__).with_name("requirements.in")
SOURCE_REQUIREMENTS = Path(__file__).with_name("requirements-source.in")
BUILD_REQUIREMENTS = Path(__file__).with_name("requirements-build.in")
LOCKS = Path(__file__).with_name("locks")
SOURCE_NAME, BUILD_NAME = "source.txt", "build.txt"

DEFAULT_PROFILE = "default"
PROFILES = (DEFAULT_PROFILE, "full", "classic")

# Raise it when the builder makes another environment from the same lock: all are then rebuilt.
_BUILDER_VERSION = 2


@dataclass(frozen=True, slots=True)
class Lock:
    """
    A lock file; `digest` (SHA-256, hex) changes whenever an environment built from it would.

    source, build: the lists of what is built from source besides, and of what builds it.
    """

    path: Path
    digest: str
    source: Path | None = None
    build: Path | None = None


def folder_of(profile: str) -> Path:
    """Return the folder with the locks of a profile."""
    return LOCKS if profile == DEFAULT_PROFILE else LOCKS / profile


def requirements_of(profile: str) -> Path:
    """Return the file that says what a profile wants."""
    name = REQUIREMENTS.name if profile == DEFAULT_PROFILE else f"requirements-{profile}.in"
    return REQUIREMENTS.with_name(name)


def current_digests(version: tuple[int, int]) -> frozenset[str]:
    """Return the digests that an up-to-date environment for Python `version` can have."""
    folders = map(folder_of, PROFILES)
    return frozenset(for_python(version, f).digest for f in folders if version in supported(f))


def pinned(path: Path) -> list[str]:
    """Return the names of the packages that a lock file pins, as they are spelled there."""
    return re.findall(r"^([A-Za-z0-9._-]+)==", path.read_text(), re.MULTILINE)


def supported(locks: Path = LOCKS) -> tuple[tuple[int, int], ...]:
    """Return the Python versions there are locks for, oldest first."""
    names = (path.stem.removeprefix("python-").split(".") for path in locks.glob("python-*.txt"))
    return tuple(sorted((int(major), int(minor)) for major, minor in names))


def for_python(version: tuple[int, int], locks: Path = LOCKS) -> Lock:
    """
    Return the lock for Python `version` (major, minor) in the folder `locks`.

    Raises:
        SetupError: there is none; says which Pythons there are locks for.
    """
    if version not in supported(locks):
        known = ", ".join(f"{major}.{minor}" for major, minor in supported(locks))
        raise SetupError(
            f"The guest environment needs Python {known}; this one is {version[0]}.{version[1]}. "
            f"Name another with --python."
        )
    path = locks / f"python-{version[0]}.{version[1]}.txt"
    beside = [locks / SOURCE_NAME, locks / BUILD_NAME]
    source, build = beside if all(each.is_file() for each in beside) else (None, None)
    content = b"%d\n%s" % (_BUILDER_VERSION, path.read_bytes())
    for each in (source, build):
        content += b"" if each is None else each.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return Lock(path=path, digest=digest, source=source, build=build)
