"""
An in-process sandbox for tests: no wall at all, so it must never ship.

Cells are Python run in this process, with variables that stay, files in a temporary folder that
stands for /mnt/data, and top-level `await`, which is how a test holds a cell in the middle. What it
offers cells beyond Python:

    save(path, data), load(path)               write and read a file; relative to /mnt/data
    show(data, name=…, saved_path=…, mime=…)   shows a picture
    die()                                      kills the kernel

`MemorySandbox` keeps the promises of `sanderling.sandbox.base.Sandbox`; what a test may do to it
from outside is in its own section at the end.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import os
import shutil
import traceback
from collections.abc import AsyncIterable, AsyncIterator, Callable
from pathlib import Path
from typing import Any

from sanderling.errors import HostUnavailable, InvalidRequest, NotFound, TooLarge
from sanderling.sandbox.base import (
    BoxLimits,
    ChangedFile,
    Ended,
    Error,
    Happening,
    HostStatus,
    Image,
    Logs,
    Result,
)
from sanderling.sandbox.box_files import Identity, identity_of
from sanderling.sandbox.snapshots import Snapshot, difference

MOUNT = "/mnt/data"


class KernelDied(BaseException):
    """Raised by `die()`."""


class _Stream(io.TextIOBase):
    """What a cell's `print` writes to."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def write(self, text: str) -> int:
        if text:
            self._tell(text)
        return len(text)


class _Box:
    """One container's folder and variables; a fresh one has neither."""

    def __init__(self, folder: Path, limits: BoxLimits) -> None:
        self.folder = folder
        self.limits = limits
        self.variables: dict[str, Any] = {}
        self.before: dict[str, Identity] = {}  # the files that no cell made or changed
        self.turn = asyncio.Lock()
        self.journal: dict[str, list[Happening]] = {}
        self.changed: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        folder.mkdir(parents=True)

    def place(self, path: str) -> Path:
        name = path.removeprefix(MOUNT + "/")
        if not path.startswith(MOUNT + "/") or ".." in name.split("/"):
            raise InvalidRequest(f"{path!r} is not below {MOUNT}")
        return self.folder / name

    def end(self, execution_id: str) -> None:
        """Say that an execution has ended, if it was cancelled before it could begin."""
        journal = self.journal[execution_id]
        if not journal or not isinstance(journal[-1], Ended):
            journal.append(Ended("interrupted", 0.0, (), (), notice=None, is_fresh=False))
            self.changed[execution_id].set()

    def files(self) -> dict[str, Identity]:
        return {
            f"{MOUNT}/{path.relative_to(self.folder)}": identity_of(path.stat())
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and not path.is_symlink()
        }


class MemorySandbox:
    """Implements `Sandbox` without any wall."""

    def __init__(self, root: Path, *, memory_bytes_max: int = 4 << 30) -> None:
        self._root = root
        self._memory_bytes_max = memory_bytes_max
        self._boxes: dict[str, _Box] = {}
        self._births = 0
        self.is_up = True
        self.read_only = True  # as true as everything that a sandbox without a wall promises
        self.room_bytes: int | None = None
        self.environments: dict[str, str] = {}  # that each container's box was asked for with
        self.calls: list[tuple[str, ...]] = []

    # ---- Sandbox -------------------------------------------------------------------------------

    async def status(self) -> HostStatus:
        self._note("status")
        return HostStatus(
            pid=os.getpid(),
            isolation="none",
            read_only=self.read_only,
            boxes=len(self._boxes),
            pool=0,
            memory_bytes_max=self._memory_bytes_max,
            cgroups="none",
        )

    async def create(
        self, container_id: str, limits: BoxLimits, *, tenant: str = "", environment: str = ""
    ) -> bool:
        self._note("create", container_id)
        self.environments[container_id] = environment
        if container_id in self._boxes:
            return False
        self._births += 1
        self._boxes[container_id] = _Box(self._root / f"box{self._births}", limits)
        return True

    async def execute(
        self, container_id: str, execution_id: str, code: str, *, timeout_s: float
    ) -> AsyncIterator[Happening]:
        self._note("execute", container_id, execution_id)
        box = self._box(container_id)
        if execution_id not in box.journal:
            box.journal[execution_id] = []
            box.changed[execution_id] = asyncio.Event()
            task = asyncio.create_task(self._run(box, execution_id, code, timeout_s))
            task.add_done_callback(lambda _: box.end(execution_id))
            box.tasks[execution_id] = task
        told = 0
        while True:
            for happening in box.journal[execution_id][told:]:
                told += 1
                yield happening
                if isinstance(happening, Ended):
                    return
            if not self.is_up:
                raise HostUnavailable
            if told == len(box.journal[execution_id]):
                await box.changed[execution_id].wait()
                box.changed[execution_id].clear()

    async def interrupt(self, container_id: str, execution_id: str) -> bool:
        self._note("interrupt", container_id, execution_id)
        task = self._box(container_id).tasks.get(execution_id)
        return task is not None and task.cancel()

    async def write_file(self, container_id: str, path: str, data: AsyncIterable[bytes]) -> int:
        self._note("write_file", container_id, path)
        place = self._box(container_id).place(path)
        content = b"".join([chunk async for chunk in data])
        if self.room_bytes is not None and len(content) > self.room_bytes:
            raise TooLarge("No space left in the box.")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        self._box(container_id).before[path] = self._box(container_id).files()[path]
        return len(content)

    async def read_file(self, container_id: str, path: str) -> AsyncIterator[bytes]:
        self._note("read_file", container_id, path)
        place = self._box(container_id).place(path)
        if place.is_symlink() or not place.is_file():
            raise NotFound(f"No file {path}.")
        content = place.read_bytes()
        for start in range(0, len(content), 4096):
            yield content[start : start + 4096]

    async def delete_file(self, container_id: str, path: str) -> bool:
        self._note("delete_file", container_id, path)
        place = self._box(container_id).place(path)
        if not place.is_file():
            return False
        place.unlink()
        self._box(container_id).before.pop(path, None)
        return True

    async def containers(self) -> list[str]:
        self._note("containers")
        return list(self._boxes)

    async def list_files(self, container_id: str) -> list[ChangedFile]:
        self._note("list_files", container_id)
        files = self._box(container_id).files()
        return [ChangedFile(path, size) for path, (_, size, *_) in files.items()]

    async def link_file(self, container_id: str, path: str, target: str) -> bool:
        self._note("link_file", container_id, path, target)
        place = self._box(container_id).place(path)
        if place.exists() and not place.is_symlink():
            return False
        place.unlink(missing_ok=True)
        place.symlink_to(self._box(container_id).place(target))
        return True

    async def close(self, container_id: str) -> bool:
        self._note("close", container_id)
        box = self._boxes.pop(container_id, None)
        if box is None:
            return False
        await self._end_cells(box)
        shutil.rmtree(box.folder)
        return True

    # ---- what a test may do --------------------------------------------------------------------

    def lose_boxes(self) -> None:
        """Do what a restart of the host does: every box is gone."""
        self._boxes.clear()

    def go_down(self) -> None:
        """Stop answering, in the middle of executions too."""
        self.is_up = False
        for box in self._boxes.values():
            for changed in box.changed.values():
                changed.set()

    def paths(self, container_id: str) -> list[str]:
        """Return the paths of the files in a container's box."""
        return list(self._box(container_id).files())

    def variables(self, container_id: str) -> dict[str, Any]:
        """Return the variables of a container's kernel."""
        return self._box(container_id).variables

    def content(self, container_id: str, path: str) -> bytes:
        """Return the bytes of a file in a container's box."""
        return self._box(container_id).place(path).read_bytes()

    async def aclose(self) -> None:
        """End every cell; for the end of a test."""
        for box in self._boxes.values():
            await self._end_cells(box)

    # ---- inside --------------------------------------------------------------------------------

    def _note(self, *call: str) -> None:
        self.calls.append(call)
        if not self.is_up:
            raise HostUnavailable

    def _box(self, container_id: str) -> _Box:
        if container_id not in self._boxes:
            raise NotFound("No box stands for this container.")
        return self._boxes[container_id]

    async def _end_cells(self, box: _Box) -> None:
        for task in box.tasks.values():
            task.cancel()
        await asyncio.gather(*box.tasks.values(), return_exceptions=True)

    async def _run(self, box: _Box, execution_id: str, code: str, timeout_s: float) -> None:
        def tell(happening: Happening) -> None:
            box.journal[execution_id].append(happening)
            box.changed[execution_id].set()

        status, notice, is_fresh = "ok", None, False
        try:
            async with box.turn:
                box.before = box.files()
                async with asyncio.timeout(timeout_s):
                    await self._cell(box, code, tell)
        except TimeoutError:
            status, notice = "timed_out", f"The code ran longer than {timeout_s:g} s."
        except asyncio.CancelledError:
            status = "interrupted"
        except KernelDied:
            status, notice, is_fresh = "died", "The kernel died; variables are gone.", True
            box.variables.clear()
        except Exception as error:  # noqa: BLE001 - whatever a cell raises is its outcome
            status = "error"
            lines = traceback.format_exception(error)
            told = "".join(lines).replace(str(box.folder), MOUNT)
            tell(Error(type(error).__name__, str(error), told))
        after = box.files() if box.folder.exists() else {}
        found = difference(Snapshot(box.before), Snapshot(after))
        tell(Ended(status, 1.0, found.changed, found.removed, notice, is_fresh))  # type: ignore[arg-type]

    async def _cell(self, box: _Box, code: str, tell: Callable[[Happening], None]) -> None:
        def outward(text: str) -> str:
            return text.replace(str(box.folder), MOUNT)

        out = _Stream(lambda text: tell(Logs("stdout", outward(text))))
        err = _Stream(lambda text: tell(Logs("stderr", outward(text))))

        def show(
            data: bytes,
            name: str = "figure_1.png",
            saved_path: str | None = None,
            mime: str = "image/png",
        ) -> None:
            saved = None if saved_path is None else outward(saved_path)
            tell(Image(mime, data, name, saved))  # type: ignore[arg-type]

        def die() -> None:
            raise KernelDied

        def save(path: str, data: str | bytes) -> None:
            place = box.folder / path
            place.write_bytes(data.encode() if isinstance(data, str) else data)

        def load(path: str) -> str:
            return (box.folder / path).read_text()

        box.variables |= {"show": show, "die": die, "save": save, "load": load}
        tree = ast.parse(code.replace(MOUNT, str(box.folder)))
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            await _evaluate(tree, "exec", box.variables)
            if isinstance(last, ast.Expr):
                value = await _evaluate(ast.Expression(last.value), "eval", box.variables)
                if value is not None:
                    tell(Result(outward(repr(value))))


async def _evaluate(tree: Any, mode: str, variables: dict[str, Any]) -> Any:
    code = compile(tree, "<cell>", mode, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:
        return await eval(code, variables)
    return eval(code, variables)
