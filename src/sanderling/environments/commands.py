"""
Runs the programs a build consists of, and turns their failures into sentences to act on.

They are uv and the new environment's own Python. The user's own index, proxy, certificate and cache
settings stay in force for uv: a machine that reaches its packages through a mirror says so to uv
once. What could make uv build another environment than the locked one is taken out of its
variables.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import uv

from sanderling.errors import SetupError

# Settings of uv or Python that would choose other packages, another Python or another place, or
# have what was installed run.
_FORGOTTEN = (
    "CONDA_PREFIX",
    "PYTHONHOME",
    "PYTHONPATH",
    "UV_BUILD_CONSTRAINT",
    "UV_COMPILE_BYTECODE",
    "UV_CONSTRAINT",
    "UV_EXCLUDE_NEWER",
    "UV_LINK_MODE",
    "UV_NO_BINARY",
    "UV_NO_BINARY_PACKAGE",
    "UV_NO_BUILD_ISOLATION",
    "UV_OVERRIDE",
    "UV_PROJECT_ENVIRONMENT",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "UV_WORKING_DIRECTORY",
    "VIRTUAL_ENV",
)
_FORCED = {"UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1"}

# Lines that only repeat what is known: the list of installed packages, the chosen interpreter, that
# a cache on another file system is copied from, and what the error will say.
_UNINTERESTING = re.compile(
    r"^( [+~-] |Using |Creating |Activate |\s*$|error: |\s+cause: |\s{8,}|hint: "
    r"|warning: Failed to \w+ files; falling back|If the cache and target |If this is intentional)"
)
_TAIL_LINES = 12

# Boxes run under another user than the one who builds.
_UMASK = 0o022

_NO_SPACE = re.compile(r"os error (28|122)\b|No space left|quota exceeded", re.IGNORECASE)
_WRONG_HASH = re.compile(r"hash mismatch", re.IGNORECASE)
_NO_WHEEL = re.compile(r"no usable wheels|no wheels? with a matching|no matching platform")
_NO_NETWORK = re.compile(
    r"failed to fetch|error sending request|dns error|connection", re.IGNORECASE
)


def run_uv(
    arguments: Sequence[str | Path],
    progress: Callable[[str], None],
    *,
    explain: Callable[[str], str | None] = lambda _: None,
) -> None:
    """
    Run uv with `arguments`; hand each line worth reading to `progress` as it comes.

    It runs in `/`, so that no project's settings file in or above the current folder counts.

    explain: given the end of what uv said when it failed, may know the sentence for it.

    Raises:
        SetupError: uv is missing or failed; says why and what to do.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _FORGOTTEN}
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    try:
        process = subprocess.Popen(
            [_find_uv(), *arguments],
            cwd="/",
            env=kept | _FORCED,
            umask=_UMASK,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise SetupError(f"uv cannot be run: {error}.") from error
    with process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                tail.append(line.rstrip())
                if not _UNINTERESTING.match(line):
                    progress(line.strip())
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        said = "\n".join(tail)
        raise SetupError(
            explain(said) or _explain(said, f"uv failed with exit status {process.returncode}.")
        )


def run_python(
    python: Path, arguments: Sequence[str], environ: Mapping[str, str], *, may_fail: bool = False
) -> None:
    """
    Run `python` isolated from the user's settings (`-I`), with only `environ` as its variables.

    Args:
        may_fail: a non-zero exit status is fine as long as nothing is on standard error.

    Raises:
        SetupError: it failed.
    """
    try:
        done = subprocess.run(
            [python, "-I", *arguments],
            env=environ,
            umask=_UMASK,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise SetupError(f"{python} cannot be run: {error}.") from error
    said = (done.stderr + done.stdout)[-2000:].strip()
    if done.returncode != 0 and (done.stderr or not may_fail or _NO_SPACE.search(said)):
        raise SetupError(_explain(said, f"{python} {' '.join(arguments)} failed."))


def _find_uv() -> str:
    try:
        return uv.find_uv_bin()
    except FileNotFoundError as error:
        raise SetupError(
            "uv, which installs the guest environment, is missing from the server's own "
            "environment. Reinstall Sanderling, or run: pip install --force-reinstall uv"
        ) from error


def _explain(said: str, otherwise: str) -> str:
    """Return the sentence for a failed program; `said` is the end of its output."""
    if _NO_SPACE.search(said):
        return (
            "The disk is full. The default packages need 2.4 GB, and uv's cache 2.1 GB more if it "
            f"is on another file system; make room and run it again.\n{said}"
        )
    if _WRONG_HASH.search(said):
        return (
            "A package that was downloaded is not the one whose hash is in the lock file or the "
            "requirements, so nothing was installed. That hash is wrong, or the package index or "
            f"something on the way to it alters files.\n{said}"
        )
    if _NO_WHEEL.search(said):
        return f"A locked package has no build for this machine and Python.\n{said}"
    if _NO_NETWORK.search(said):
        return (
            "The package index cannot be reached. The set-up needs it once: check the "
            "connection, set HTTPS_PROXY if there is a proxy, or UV_DEFAULT_INDEX if there is a "
            f"mirror.\n{said}"
        )
    return f"{otherwise}\n{said}"
