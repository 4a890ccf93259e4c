"""
Puts files that code made onto the user's disk, under names that can do no harm there.

A name from a box is a stranger's: only its last component counts, nothing is ever overwritten and
no link is followed. A name that is taken gets a number: `chart.png`, `chart_1.png`, …
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sanderling.containers.names import free_name, safe_name
from sanderling.errors import SetupError


@dataclass(frozen=True, slots=True)
class SavedFile:
    """A file that was made in the container at `path` and now also lies at `saved_to`."""

    path: str
    saved_to: Path
    bytes: int


def prepare_folder(folder: Path) -> None:
    """Make `folder` if need be. Raises SetupError when nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"The folder {folder} cannot be made: {error.strerror}.") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SetupError(f"The folder {folder} is not writable; choose another with --out.")


async def save(folder: Path, path: str, chunks: AsyncIterator[bytes]) -> SavedFile:
    """
    Write `chunks` into a new file of `folder`, named after the last component of `path`.

    Raises:
        SetupError: the disk refused it. Whatever was written of the file is removed.
    """
    name = _visible_name(path)
    try:
        target, descriptor = _create(folder, name)
    except OSError as error:
        raise SetupError(f"{folder / name} cannot be written: {error.strerror}.") from error
    size = 0
    try:
        with os.fdopen(descriptor, "wb") as out:
            async for chunk in chunks:
                _write(out, chunk, target)
                size += len(chunk)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return SavedFile(path=path, saved_to=target, bytes=size)


def _write(out: BinaryIO, chunk: bytes, target: Path) -> None:
    try:
        out.write(chunk)
        out.flush()  # now, so that a full disk is known here and not when the file is closed
    except OSError as error:
        raise SetupError(f"{target} cannot be written: {error.strerror}.") from error


def _create(folder: Path, name: str) -> tuple[Path, int]:
    taken: set[str] = set()
    while True:
        target = folder / free_name(name, taken)
        try:
            # O_EXCL also refuses a dangling link, so this never writes through one.
            return target, os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            taken.add(target.name)


def _visible_name(path: str) -> str:
    # A leading dot would hide the file from `ls`, and make it a settings file of some program.
    return safe_name(safe_name(path).lstrip("."))
