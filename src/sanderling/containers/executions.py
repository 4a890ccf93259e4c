"""
One execution in a container: make the box ready, run the cell, bring home what it made.

The sandbox tells what happened in its own terms. Here it becomes records: bursts become outputs,
pictures and changed files become container files with their bytes in the blob store. Names, paths
and sizes come from inside the box and are checked before use; what user code does ends as an
Execution with a status, never as an exception.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import assert_never

from sanderling.containers import charts
from sanderling.containers.boxes import VARIABLES_GONE, Boxes, Live
from sanderling.containers.files import FILES_PER_CONTAINER_MAX, Files
from sanderling.containers.happenings import ContainerHappening, OutputLog
from sanderling.containers.lines import Place
from sanderling.containers.names import is_clean_path, safe_name
from sanderling.containers.streams import closing
from sanderling.errors import (
    BoxDied,
    Expired,
    InvalidRequest,
    MachineFull,
    NotFound,
    SandboxError,
    StorageFull,
    TooLarge,
)
from sanderling.records import (
    Artifact,
    Container,
    ContainerFile,
    ErrorOutput,
    Execution,
    ImageOutput,
    LogsOutput,
    Output,
    ResultOutput,
)
from sanderling.sandbox.base import (
    Cleared,
    Ended,
    Error,
    Happening,
    Image,
    Logs,
    Result,
    Sandbox,
)

# One file costs two transactions and an fsync, about 5 ms: a thousand is five seconds of waiting,
# and more than anybody downloads one by one. Code that makes more should make an archive.
FILES_PER_EXECUTION_MAX = 1000
# A picture is at most 16 MiB; the file it was saved to may be of another format and finer.
_SAVED_IMAGE_BYTES_MAX = 64 << 20
_TOO_LARGE_NAMED_MAX = 10  # files named in the notice about them

_SUFFIXES = {
    "image/png": (".png",),
    "image/jpeg": (".jpg", ".jpeg"),
    "image/gif": (".gif",),
    "image/webp": (".webp",),
    "image/svg+xml": (".svg",),
}
_DIED = "The sandbox stopped while the code ran: files are kept as they were before this call."
_UNCOLLECTED = "The sandbox went away before all files that were made could be kept."
_UNKEPT = (
    "The server's disk is full: some files that were made cannot be downloaded. They are in the "
    "container, and are kept by the next call for which there is room."
)
_UNKEPT_IMAGE = "The server's disk is full: a picture that was shown could not be kept."
_CROWDED_IMAGE = "The container is full of files: a picture that was shown could not be kept."
# Of an execution that was in line and never ran.
_REVOKED = Ended("interrupted", 0.0, (), (), notice=None, is_fresh=False)


def _since(began_s: float) -> float:
    """Milliseconds since that moment of the event loop's clock."""
    return (asyncio.get_running_loop().time() - began_s) * 1000


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _artifact(file: ContainerFile) -> Artifact:
    return Artifact(
        file_id=file.id,
        container_id=file.container_id,
        path=file.path,
        filename=file.path.rsplit("/", 1)[1],
        bytes=file.bytes,
        created_at=file.created_at,
    )


class Cell:
    """
    One execution at work; `perform` is called once.

    tell: is handed every OutputAppeared and OutputsCleared as it happens, and the Execution at
        the end.
    """

    def __init__(
        self,
        container: Container,
        code: str,
        *,
        execution_id: str,
        timeout_s: float,
        sandbox: Sandbox,
        boxes: Boxes,
        files: Files,
        place: Place,
        tell: Callable[[ContainerHappening], None],
    ) -> None:
        self._container = container
        self._code = code
        self._execution_id = execution_id
        self._timeout_s = timeout_s
        self._sandbox = sandbox
        self._boxes = boxes
        self._files = files
        self._place = place
        self._tell = tell
        self._log = OutputLog()
        self._notices: list[str] = []
        self._artifacts: dict[str, Artifact] = {}  # by path, in the order they appeared
        # Of those shown that the code has not saved itself: path and display id.
        self._pictures: dict[str, str | None] = {}

    async def perform(self, live: Live) -> Execution:
        """
        Run the cell to its end and return its record; the record is not told yet.

        A container that goes away after the execution was taken on ends it as interrupted.

        Raises:
            NotFound, Expired: the container was not running any more.
            RateLimited, SandboxError: no box could be made; nothing was run.
        """
        try:
            ended = await self._run_in_box(live)
        except (NotFound, Expired):
            if not live.is_closed:
                raise
            ended = _REVOKED
        if ended is not _REVOKED:
            await self._collect(ended, live)
            live.has_run = True
        if ended.notice is not None:
            self._notices.append(ended.notice)
        elif ended.is_fresh and live.has_run and VARIABLES_GONE not in self._notices:
            self._notices.append(VARIABLES_GONE)
        for notice in self._notices:
            self._tell(self._log.add_notice(notice))
        return Execution(
            id=self._execution_id,
            container_id=self._container.id,
            status=ended.status,
            outputs=self._log.outputs(),
            artifacts=tuple(self._artifacts.values()),
            duration_ms=ended.duration_ms,
            notice=" ".join(self._notices) or None,
        )

    async def _run_in_box(self, live: Live) -> Ended:
        """Run the cell, in a box that is made if there is none, unless it was revoked by then."""
        for _ in range(2):
            if self._place.is_revoked:
                return _REVOKED
            await self._prepare(live)
            if self._place.is_revoked:
                return _REVOKED
            self._place.is_handed_over = True
            try:
                return await self._run(live)
            except NotFound:
                # The box went between `ready` and now (the host was restarted, the container
                # closed): nothing was run yet.
                live.is_whole = False
                self._place.is_handed_over = False
        raise BoxDied("The box went away twice before the code could run.")

    async def _prepare(self, live: Live) -> None:
        await self._boxes.ready(self._container)
        self._notices, live.notices = live.notices, []

    async def _run(self, live: Live) -> Ended:
        began_s = asyncio.get_running_loop().time()
        try:
            return await self._attempt(live)
        except MachineFull:
            raise  # it waited for its turn in vain, and was not run
        except SandboxError:
            if live.is_closed:
                return Ended("interrupted", _since(began_s), (), (), notice=None, is_fresh=False)
            # The box boundary: whatever goes on in there is cut off, so that it cannot go on
            # beside the box that will take its place.
            await self._cut_off(live)
            return Ended("died", _since(began_s), (), (), notice=_DIED, is_fresh=False)

    async def _attempt(self, live: Live) -> Ended:
        happenings = self._sandbox.execute(
            self._container.id, self._execution_id, self._code, timeout_s=self._timeout_s
        )
        async with closing(happenings):
            async for happening in happenings:
                if isinstance(happening, Ended):
                    return happening
                await self._take(happening, live)
        raise SandboxError("The sandbox ended an execution without saying how.")

    async def _cut_off(self, live: Live) -> None:
        live.is_whole = False
        live.has_run = True
        try:
            await self._sandbox.close(self._container.id)
        except SandboxError:
            return  # the host is gone, and every box with it

    async def _take(self, happening: Happening, live: Live) -> None:
        match happening:
            case Logs(stream=stream, text=text):
                self._tell(self._log.add(LogsOutput(stream, text)))
            case Result(text=text):
                self._show(happening, ResultOutput(text, charts.data_of(happening.parts)))
            case Cleared():
                await self._clear(live)
            case Error(name=name, message=message, traceback=traceback):
                self._tell(self._log.add(ErrorOutput(name, message, traceback)))
            case Image():
                if happening.is_update:
                    replaced = [p for p, i in self._pictures.items() if i == happening.display_id]
                    await self._drop_pictures(replaced, live)
                try:
                    file = await self._keep_image(happening, live)
                except (StorageFull, TooLarge) as error:
                    notice = _UNKEPT_IMAGE if isinstance(error, StorageFull) else _CROWDED_IMAGE
                    if notice not in self._notices:
                        self._notices.append(notice)
                    return
                self._artifacts[file.path] = _artifact(file)
                encoded = base64.b64encode(happening.data).decode("ascii")
                data_url = f"data:{happening.mime};base64,{encoded}"
                chart = charts.chart_of(happening.parts)
                data = charts.data_of(happening.parts)
                self._show(happening, ImageOutput(data_url, file.id, file.path, chart, data))
            case Ended():
                raise AssertionError("Ended is not an output")
            case _:
                assert_never(happening)

    def _show(self, shown: Result | Image, output: Output) -> None:
        if shown.display_id is None:
            self._tell(self._log.add(output))
        else:
            self._tell(self._log.add_displayed(output, shown.display_id, is_update=shown.is_update))

    async def _clear(self, live: Live) -> None:
        """Nothing is shown any more; of pictures that only we have kept nothing is left."""
        await self._drop_pictures(list(self._pictures), live)
        self._tell(self._log.clear())

    async def _drop_pictures(self, paths: Sequence[str], live: Live) -> None:
        async with live.lock:
            for path in paths:
                del self._pictures[path]
                self._artifacts.pop(path, None)
                if not live.is_closed:
                    await self._boxes.delete(self._container.id, path)
                    await self._files.drop_path(self._container.id, path)

    async def _keep_image(self, image: Image, live: Live) -> ContainerFile:
        """Return the container file of a picture: the one the code saved, or one we make."""
        async with live.lock:
            if live.is_closed:
                raise BoxDied("The container was deleted while its code ran.")
            room = await self._files.room(self._container.id)
            saved = image.saved_path
            if saved is not None and is_clean_path(saved):
                try:
                    bytes_max = min(_SAVED_IMAGE_BYTES_MAX, room.at(saved))
                    return await self._pull(saved, bytes_max=bytes_max)
                except (NotFound, TooLarge):
                    pass  # the box lied, or the code removed it again
            suffixes = _SUFFIXES[image.mime]
            name = safe_name(image.name, fallback="figure")
            if not name.lower().endswith(suffixes):
                name = safe_name(name + suffixes[0])
            path = await self._free_path(name)
            if not room.has_place(path) or len(image.data) > room.at(path):
                raise TooLarge
            file = await self._files.take(
                self._container.id, path, _once(image.data), bytes_max=len(image.data)
            )
            # Where there is no room, the picture was shown and is kept; the code cannot open it.
            with contextlib.suppress(TooLarge, InvalidRequest):
                await self._boxes.write(self._container.id, path, _once(image.data))
            self._pictures[path] = image.display_id
            return file

    async def _free_path(self, name: str) -> str:
        """Return a path no record has and no file in the box either: code may be writing some."""
        hidden: set[str] = set()
        while True:
            path = await self._files.free_path(self._container.id, name, also_taken=hidden)
            if not await self._boxes.holds(self._container.id, path):
                return path
            hidden.add(path)

    async def _pull(self, path: str, *, bytes_max: int) -> ContainerFile:
        async with closing(self._sandbox.read_file(self._container.id, path)) as chunks:
            return await self._files.take(self._container.id, path, chunks, bytes_max=bytes_max)

    async def _collect(self, ended: Ended, live: Live) -> None:
        """Bring the files the cell made, changed or removed into the records."""
        async with live.lock:
            if live.is_closed:
                return  # the container went while the cell ran, and its files with it
            ours = {file.path: file.bytes for file in ended.changed if is_clean_path(file.path)}
            try:
                if live.is_adopted:
                    await self._boxes.compare(self._container.id, live)
                # What an earlier one could not record: its size is not known any more.
                ours |= dict.fromkeys(sorted(live.missed - {*ours, *ended.removed}), 0)
                # Until each is done with; a cell that makes thousands is told, and not asked again.
                live.missed = {*list(ours)[:FILES_PER_EXECUTION_MAX], *ended.removed}
                for path in ended.removed:  # first, as it makes room
                    await self._files.drop_path(self._container.id, path)
                    live.missed.discard(path)
                    self._artifacts.pop(path, None)
                await self._collect_changed(
                    dict(list(ours.items())[:FILES_PER_EXECUTION_MAX]), live
                )
            except SandboxError:
                live.is_whole = False
                self._notices.append(_UNCOLLECTED)
            except StorageFull:
                self._notices.append(_UNKEPT)
        if len(ours) > FILES_PER_EXECUTION_MAX:
            self._notices.append(
                f"{len(ours)} files were made or changed; only the first "
                f"{FILES_PER_EXECUTION_MAX} can be downloaded. Pack them into one archive."
            )

    async def _collect_changed(self, sizes: Mapping[str, int], live: Live) -> None:
        """
        Record files, of about these bytes, as they are now in the box; none is missed then.

        Raises:
            SandboxError, StorageFull: some are left.
        """
        if not sizes:  # most cells; asking how much room there is would take longer than they
            return
        too_large: list[str] = []
        too_many = 0
        room = await self._files.room(self._container.id)
        for path, size in sizes.items():
            bytes_max = room.at(path)
            try:
                if not room.has_place(path):
                    too_many += 1
                    live.missed.discard(path)
                    continue
                if size > bytes_max:  # known before a gigabyte is copied
                    raise TooLarge
                file = await self._pull(path, bytes_max=bytes_max)
            except NotFound:
                # Gone again: a thread or process of the cell's removed it.
                await self._files.drop_path(self._container.id, path)
            except TooLarge:
                too_large.append(path)
            else:
                room.take(file)
                self._artifacts[path] = _artifact(file)
            live.missed.discard(path)
        if too_many:
            self._notices.append(
                f"{too_many} files cannot be downloaded: the container has "
                f"{FILES_PER_CONTAINER_MAX} already. Remove some, or pack them into one archive."
            )
        if too_large:
            named = ", ".join(too_large[:_TOO_LARGE_NAMED_MAX])
            unnamed = len(too_large) - _TOO_LARGE_NAMED_MAX
            more = f" and {unnamed} more" if unnamed > 0 else ""
            self._notices.append(f"Too large to be downloaded: {named}{more}.")
