"""
The pinned and hashed lists of packages, one for each Python a guest environment can have.

`requirements.in` says what is wanted; `make lock` resolves it into `locks/python-3.NN.txt` with the
hash of every file. They travel inside the wheel, so that an installed server builds the very
environment it was tested with.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from sanderling.errors import SetupError

REQUIREMENTS = Path(__file__).with_name("requirements.in")
LOCKS = Path(__file__).with_name("locks")

# Raise it when the builder makes another environment from the same lock: all are then rebuilt.
_BUILDER_VERSION = 1


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock file; `digest` (SHA-256, hex) changes whenever an environment built from it would."""

    path: Path
    digest: str


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
    content = b"%d\n%s" % (_BUILDER_VERSION, path.read_bytes())
    return Lock(path=path, digest=hashlib.sha256(content).hexdigest())
