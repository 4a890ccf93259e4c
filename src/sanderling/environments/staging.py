"""
How a folder is made that is whole or not there: alone, beside its goal, with one rename at the end.

Shared by the builder of the default environment and by that of named ones.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from sanderling.environments.commands import run_python
from sanderling.errors import SetupError

# Not compiled: the packages' own tests and benchmarks, 40 % of the source, which nobody imports.
_NOT_COMPILED = r"/(tests?|benchmarks)/"


def lock_file(target: Path) -> Path:
    """Return the file whose lock is held while `target` is made, replaced or removed."""
    return target.parent / f".{target.name}.lock"


@contextlib.contextmanager
def alone(target: Path, progress: Callable[[str], None], *, advice: str) -> Iterator[None]:
    """Hold the lock of `target`: of two builds one works and the other waits and finds it done."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock_file(target), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise SetupError(
            f"The guest environment cannot be made in {target.parent}: {error.strerror}. {advice}"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("Another process is building this environment; waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def folder_beside(target: Path) -> Iterator[Path]:
    """Make an empty folder beside `target`, after what killed builds left there; and remove it."""
    with writing(target.parent):
        for left in target.parent.glob(f".{target.name}.building-*"):
            shutil.rmtree(left)
        stage = Path(tempfile.mkdtemp(prefix=f".{target.name}.building-", dir=target.parent))
    try:
        with writing(target.parent):
            stage.chmod(0o755)  # mkdtemp makes it private; boxes run under another user.
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Say of what the file system refuses while files are written below `folder` that it does."""
    try:
        yield
    except OSError as error:
        raise SetupError(
            f"The guest environment cannot be written to {folder}: {error}."
        ) from error


def make_readable(stage: Path) -> None:
    """
    Let every user read what is in `stage`.

    uv links files from its cache, and they have the rights they got there under whatever umask.
    """
    with writing(stage.parent):
        for folder, _, names in os.walk(stage):
            os.chmod(folder, 0o755)  # noqa: S103  The whole point.
            for name in names:
                path = os.path.join(folder, name)
                mode = os.lstat(path).st_mode
                if stat.S_ISREG(mode) and mode & 0o444 != 0o444:
                    os.chmod(path, stat.S_IMODE(mode) | 0o444)


def put_in_place(stage: Path, target: Path) -> None:
    """Rename `stage` to `target`; what was there before is removed afterwards."""
    with writing(target.parent):
        if not target.exists():
            stage.rename(target)
            return
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}.building-", dir=target.parent))
        target.rename(old)  # Onto an empty folder, which rename(2) replaces.
        stage.rename(target)
    shutil.rmtree(old, ignore_errors=True)  # what is left of it goes with the next build


def compile_to_bytecode(python: Path, stage: Path, target: Path) -> None:
    """
    Write byte code for what is in `stage`, to be used as `target`.

    python: the interpreter to do it with; nothing of what is compiled runs.
    """
    compiled = ["-W", "ignore", "-m", "compileall", "-q", "-x", _NOT_COMPILED]
    compiled += ["-j", str(len(os.sched_getaffinity(0)))]
    # Tracebacks name the file where it will be, not where it is now.
    compiled += ["-s", str(stage), "-p", str(target), str(stage / "lib")]
    # It may fail: packages carry templates that are not quite Python, and nobody imports those.
    run_python(python, compiled, {}, may_fail=True)
