"""
One execution in a container: make the box ready, run the cell, bring home what it made.

The sandbox tells what happened in its own terms. Here it becomes records: bursts become outputs,
pictures become container files with their bytes in the blob store; `collecting.py` does the same
for the files that code left. Names come from inside the box and are checked before use; what user
code does ends as an Execution with a status, never as an exception.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import assert_never

from sanderling.containers import parts
from sanderling.containers.aliases import aliases, mentions_ids
from sanderling.containers.boxes import VARIABLES_GONE, Boxes, Live
from sanderling.containers.collecting import Collector
from sanderling.containers.files import Files
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

# A picture is at most 16 MiB; the file it was saved to may be of another format and finer.
_SAVED_IMAGE_BYTES_MAX = 64 << 20

_SUFFIXES = {
    "image/png": (".png",),
    "image/jpeg": (".jpg", ".jpeg"),
    "image/gif": (".gif",),
    "image/webp": (".webp",),
    "image/svg+xml": (".svg",),
}
_DIED = "The sandbox stopped while the code ran: files are kept as they were before this call."
_UNKEPT_IMAGE = "The server's disk is full: a picture that was shown could not be kept."
_CROWDED_IMAGE = "The container is full of files: a picture that was shown could not be kept."
# Of an execution that was in line and never ran.
_REVOKED = Ended("interrupted", 0.0, (), (), notice=None, is_fresh=False)


def _since(began_s: float) -> float:
    """Milliseconds since that moment of the event loop's clock."""
    return (asyncio.get_running_loop().time() - began_s) * 1000


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


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
        self._collector = Collector(container.id, sandbox=sandbox, boxes=boxes, files=files)
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
            await self._collector.collect(ended, live)
            self._notices += self._collector.notices
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
            artifacts=self._collector.artifacts(),
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
                await self._link_mentioned()
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

    async def _link_mentioned(self) -> None:
        """Let the ids of files that stand in the code lead to them. Raises NotFound: no box."""
        if not mentions_ids(self._code):
            return
        files = await self._files.all(self._container.id)
        for path, target in aliases(self._code, files):
            await self._boxes.link(self._container.id, path, target)

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
        if isinstance(happening, Result | Image) and happening.is_update:
            replaced = [p for p, i in self._pictures.items() if i == happening.display_id]
            await self._drop_pictures(replaced, live)
        match happening:
            case Logs(stream=stream, text=text):
                self._tell(self._log.add(LogsOutput(stream, text)))
            case Result(text=text):
                self._show(happening, ResultOutput(text, parts.data_of(happening.parts)))
            case Cleared():
                await self._clear(live)
            case Error(name=name, message=message, traceback=traceback):
                self._tell(self._log.add(ErrorOutput(name, message, traceback)))
            case Image():
                try:
                    file = await self._keep_image(happening, live)
                except (StorageFull, TooLarge) as error:
                    notice = _UNKEPT_IMAGE if isinstance(error, StorageFull) else _CROWDED_IMAGE
                    if notice not in self._notices:
                        self._notices.append(notice)
                    return
                encoded = base64.b64encode(happening.data).decode("ascii")
                data_url = f"data:{happening.mime};base64,{encoded}"
                chart = parts.chart_of(happening.parts)
                data = parts.data_of(happening.parts)
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
        """Take back files that hold what was shown; not what the code has put there since."""
        async with live.lock:
            for path in paths:
                del self._pictures[path]
                if not live.is_closed and await self._is_ours(path):
                    self._collector.forget(path)
                    await self._boxes.delete(self._container.id, path)
                    await self._files.drop_path(self._container.id, path)

    async def _is_ours(self, path: str) -> bool:
        """Whether the picture that we have kept still stands at `path` in the box."""
        kept = await self._files.at(self._container.id, path)
        if kept is None:
            return False
        try:
            return await self._files.holds(kept, self._sandbox.read_file(self._container.id, path))
        except NotFound:
            return True  # the code took it away: nobody has it

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
                    return await self._collector.pull(saved, bytes_max=bytes_max)
                except (NotFound, TooLarge):
                    pass  # the box lied, or the code removed it again
            suffixes = _SUFFIXES[image.mime]
            name = safe_name(image.name, fallback="figure")
            if not name.lower().endswith(suffixes):
                name = safe_name(name + suffixes[0])
            path = await self._boxes.free_path(self._files, self._container.id, name)
            if not room.has_place(path) or len(image.data) > room.at(path):
                raise TooLarge
            file = await self._files.take(
                self._container.id, path, _once(image.data), bytes_max=len(image.data)
            )
            self._collector.note(file, "created")
            # Where there is no room, the picture was shown and is kept; the code cannot open it.
            with contextlib.suppress(TooLarge, InvalidRequest):
                await self._boxes.write(self._container.id, path, _once(image.data))
            self._pictures[path] = image.display_id
            return file
