"""
One cell on behalf of `sanderling exec`: where it runs, how it is watched, what is kept of it.

There are two places, a private sandbox host on this machine and a container of a server, and both
tell what happens in the sandbox's own words (`sandbox/base.py`), so everything after them is one
path. Ctrl-C interrupts the cell, as a client would; a second one stops waiting for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import click

from sanderling.cli import saving
from sanderling.cli.saving import SavedFile
from sanderling.containers.streams import closing as closing_stream
from sanderling.errors import ProtocolBroken
from sanderling.sandbox.base import Ended, Error, Happening, Image

EXIT_CODES = {
    "ok": 0,
    "error": 1,
    "died": 1,
    "timed_out": 124,  # timeout(1)
    "out_of_memory": 137,  # 128 + SIGKILL, as shells report what the kernel killed
    "interrupted": 130,  # 128 + SIGINT
}
_EXIT_TERMINATED = 143  # 128 + SIGTERM
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Job:
    """What to run: source, files for /mnt/data (under their own names), and limits."""

    code: str
    files: tuple[Path, ...]
    timeout_s: float
    memory_limit: str


class Place(Protocol):
    """A box that is ready for one job."""

    def run(self, job: Job) -> AsyncIterator[Happening]:
        """Mount the job's files and run its code; exactly one `Ended` comes last."""
        ...

    async def interrupt(self) -> None:
        """Interrupt the running cell."""
        ...

    def read(self, path: str) -> AsyncIterator[bytes]:
        """Stream a file that the cell made or changed."""
        ...


class Report(Protocol):
    """How a job is shown to the user."""

    def show(self, happening: Happening) -> None:
        """Show one thing that happened, now or at the end."""
        ...

    def finish(self, ended: Ended, saved: list[SavedFile]) -> None:
        """Show the end and where the files are."""
        ...


async def perform(
    opening: AbstractAsyncContextManager[Place], job: Job, report: Report, out: Path
) -> int:
    """
    Run the job at a place, report it, save its files in `out`; return the exit code.

    Raises:
        SanderlingError: the code could not be run at all, or its files not be saved.
    """
    saving.prepare_folder(out)
    forced: list[int] = []
    try:
        async with opening as place:
            images: list[Image] = []
            ended: Ended | None = None
            leaving: str | None = None  # what the code gave to sys.exit()
            with _interruptible(place, forced):
                async with closing_stream(place.run(job)) as happenings:
                    async for happening in happenings:
                        report.show(happening)
                        match happening:
                            case Error(name="SystemExit", message=leaving):
                                pass
                            case Image():
                                images.append(happening)
                            case Ended():
                                ended = happening
                            case _:
                                pass
            if ended is None:
                raise ProtocolBroken("The sandbox ended an execution without saying how.")
            report.finish(ended, await _save(place, ended, images, out))
    except asyncio.CancelledError:
        if not forced:
            raise
        return forced[0]
    if leaving is not None:
        return _leave(leaving)
    return EXIT_CODES[ended.status]


def _leave(code: str) -> int:
    """Return what a Python program would exit with that gave `code` to sys.exit()."""
    if code.lstrip("-").isdigit() and len(code) < 12:
        return int(code) & 0xFF
    click.echo(code, err=True)
    return 1


@contextlib.contextmanager
def _interruptible(place: Place, forced: list[int]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None, "perform runs in a task"
    asked: list[asyncio.Task[None]] = []

    def force(code: int) -> None:
        forced.append(code)
        task.cancel()

    def on_interrupt() -> None:
        if asked:
            force(EXIT_CODES["interrupted"])
        else:
            asked.append(loop.create_task(place.interrupt()))  # owned: awaited or cancelled below

    loop.add_signal_handler(signal.SIGINT, on_interrupt)
    loop.add_signal_handler(signal.SIGTERM, force, _EXIT_TERMINATED)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        loop.remove_signal_handler(signal.SIGTERM)
        for wish in asked:
            wish.cancel()


async def _save(place: Place, ended: Ended, images: list[Image], out: Path) -> list[SavedFile]:
    saved: list[SavedFile] = []
    for changed in ended.changed:
        async with closing_stream(place.read(changed.path)) as chunks:
            saved.append(await saving.save(out, changed.path, chunks))
    on_disk = {changed.path for changed in ended.changed}
    shown_only = [image for image in images if image.saved_path not in on_disk]
    saved += [await saving.save(out, image.name, _once(image.data)) for image in shown_only]
    return saved


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def read_in_chunks(path: Path) -> AsyncIterator[bytes]:
    """Stream a file of the user's, a megabyte at a time."""
    with path.open("rb") as source:
        while chunk := await asyncio.to_thread(source.read, _CHUNK_BYTES):
            yield chunk
