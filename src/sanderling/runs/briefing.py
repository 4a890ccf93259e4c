"""
All that a run needs before its first turn, from its request and what was said before it.

Whatever is wrong with a request beyond its own form (an unknown previous run, a container that is
gone, a file that is not there, a function call without its output) is found here, before the run
exists, so that the client gets a plain error instead of a failed run.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from sanderling.containers.names import MOUNT
from sanderling.containers.registry import Containers
from sanderling.errors import Expired, InvalidRequest, NotFound, RequestError
from sanderling.records import (
    Artifact,
    AutoContainer,
    CodeCallItem,
    CodeTool,
    CompactionItem,
    ContainerFile,
    ImagePart,
    Item,
    MessageItem,
    RunRequest,
    StoredFile,
)
from sanderling.runs import prompts
from sanderling.runs.citations import uncited_artifacts
from sanderling.runs.history import past_of
from sanderling.runs.mounts import (
    FileSet,
    Mount,
    code_tool,
    input_file_ids,
    plan,
    tool_file_ids,
)
from sanderling.runs.transcript import Conversation, unpaired
from sanderling.runs.workspace import Workspace
from sanderling.store.conversations import Stretch
from sanderling.store.store import Store
from sanderling.store.turns import Turn

# What model servers take of one picture; a larger one is only mounted.
IMAGE_BYTES_MAX = 20 << 20
IMAGES_BYTES_MAX = 40 << 20  # two of the largest, or a long conversation of ordinary ones

# Containers looked for before a new one is made: a chain has one, or a few that expired. What a
# client replays is its own doing and may name thousands.
REPLAYED_CONTAINERS_MAX = 8

FILES_TOLD_MAX = 50  # by name, of those that no message tells of

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
)


@dataclass(frozen=True, slots=True)
class Briefing:
    """
    What the loop is given.

    uncited: artifacts that runs before made and no message cited.
    turn: the run's turn in a conversation of the client's, if it is in one.
    """

    conversation: Conversation
    workspace: Workspace
    uncited: tuple[Artifact, ...]
    turn: Turn | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """The operator's settings that every run goes by."""

    max_turns: int = 30
    execution_timeout_s: float = 60.0
    model_logs_chars_max: int = 20_000
    shows_images: bool = True


async def brief(
    request: RunRequest,
    *,
    store: Store,
    containers: Containers,
    rules: Rules,
    is_recorded: bool = False,
) -> Briefing:
    """
    Return the briefing of a run that is about to start.

    is_recorded: the run is there already, and has waited for its turn.

    Raises:
        InvalidRequest, NotFound, Expired: the request cannot be served; `param` says why.
        Conflict: another run is at work on its conversation.
    """
    past = await past_of(request, store, is_recorded=is_recorded)
    before = [item for stretch in past.stretches for item in stretch.items]
    _refuse_unpaired([*before, *request.input])
    stretches = (*past.stretches, Stretch(request.input, tool_file_ids(request)))
    stored = await _stored_files(store, request, stretches)
    container_id, domains = await _container(containers, request, stretches)
    existing = [] if container_id is None else await containers.all_files(container_id)
    mounts = plan(
        [FileSet(_file_ids(stretch), stretch.container_id) for stretch in stretches],
        stored=stored,
        container_id=container_id,
        existing=existing,
    )
    images = await _images(store, stored, [*before, *request.input]) if rules.shows_images else {}
    tool = code_tool(request)
    timeout_s = min(request.execution_timeout_s or math.inf, rules.execution_timeout_s)
    conversation = Conversation(
        system=prompts.system_text(
            instructions=request.instructions,
            offers_code=tool is not None,
            execution_timeout_s=timeout_s,
            allowed_domains=domains,
            read_only=_is_read_only(tool),
            files=_untold(request, [*before, *request.input], mounts, existing),
        ),
        entries=(*before, *request.input),
        mounted={} if tool is None else {mount.file_id: mount.name for mount in mounts},
        images=images,
        logs_chars_max=rules.model_logs_chars_max,
    )
    workspace = Workspace(
        containers,
        request.organization_id,
        tool=tool,
        container_id=container_id,
        mounts=mounts,
        timeout_s=timeout_s,
    )
    return Briefing(conversation, workspace, _carried_over(past.stretches), past.turn)


def _refuse_unpaired(items: Iterable[Item]) -> None:
    unanswered, orphans = unpaired(items)
    if unanswered:
        raise InvalidRequest(
            f"No tool output found for function call {unanswered[0]}.", param="input"
        )
    if orphans:
        raise InvalidRequest(
            f"No tool call found for function call output with call_id {orphans[0]}.",
            param="input",
        )


async def _stored_files(
    store: Store, request: RunRequest, stretches: Iterable[Stretch]
) -> dict[str, StoredFile]:
    """Return the files of all that was said that are still there; the request's own must be."""
    ids = dict.fromkeys(i for stretch in stretches for i in _file_ids(stretch))
    own = {
        **dict.fromkeys(input_file_ids(request.input), "input"),
        **dict.fromkeys(tool_file_ids(request), "tools"),
    }
    stored = {}
    for file_id in ids:
        file = await store.files.get(request.organization_id, file_id)
        if file is not None:
            stored[file_id] = file
        elif file_id in own:
            raise NotFound(f"No such File object: {file_id}", param=own[file_id])
    return stored


def _file_ids(stretch: Stretch) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*stretch.file_ids, *input_file_ids(stretch.items))))


async def _container(
    containers: Containers, request: RunRequest, stretches: Sequence[Stretch]
) -> tuple[str | None, tuple[str, ...]]:
    """Return the container the run will use, if there is one already, and what it may reach."""
    tool = code_tool(request)
    if tool is None:
        return None, ()
    if not isinstance(tool.container, AutoContainer):
        return await _explicit(containers, request, tool.container)
    wanted = containers.check_domains(
        tool.container.allowed_domains, param=f"{_param(request)}.network_policy"
    )
    environment = containers.check_environment(
        tool.container.environment, param=f"{_param(request)}.environment"
    )
    # What is "in context": the containers of earlier code calls, also of those a client replays.
    used = dict.fromkeys(_used_containers(stretches))
    for container_id in islice(used, REPLAYED_CONTAINERS_MAX):
        try:
            container = await containers.get(request.organization_id, container_id)
        except (NotFound, Expired):
            continue
        # Another network than this request asks for would be more, or less, than it says; another
        # environment would have other packages.
        is_wanted = (
            container.environment == environment and container.read_only == tool.container.read_only
        )
        if is_wanted and set(container.allowed_domains) == set(wanted):
            return container.id, wanted
    if tool.container.read_only:
        await containers.check_read_only()
    await containers.check_memory_limit(
        tool.container.memory_limit, param=f"{_param(request)}.memory_limit"
    )
    return None, wanted


def _is_read_only(tool: CodeTool | None) -> bool:
    # Containers that clients make themselves are not.
    return (
        tool is not None and isinstance(tool.container, AutoContainer) and tool.container.read_only
    )


def _used_containers(stretches: Sequence[Stretch]) -> Iterator[str]:
    """Yield the containers in which code ran, the latest first; some more than once."""
    for stretch in reversed(stretches):
        if stretch.container_id is not None:
            yield stretch.container_id
        for item in reversed(stretch.items):
            if isinstance(item, CodeCallItem | CompactionItem) and item.container_id:
                yield item.container_id


async def _explicit(
    containers: Containers, request: RunRequest, container_id: str
) -> tuple[str, tuple[str, ...]]:
    try:
        container = await containers.get(request.organization_id, container_id)
        return container.id, container.allowed_domains
    except RequestError as error:
        error.param = _param(request)
        raise


def _param(request: RunRequest) -> str:
    index = next(i for i, tool in enumerate(request.tools) if isinstance(tool, CodeTool))
    return f"tools[{index}].container"


def _untold(
    request: RunRequest,
    items: Sequence[Item],
    mounts: Sequence[Mount],
    existing: Sequence[ContainerFile],
) -> tuple[str, ...]:
    """
    Return the names of files that the code will find and no message tells of: those listed with the
    tool, and what a client's own container has in it.
    """
    tool = code_tool(request)
    if tool is None:
        return ()
    told = set(input_file_ids(items))
    names = [mount.name for mount in mounts if mount.file_id not in told]
    if not isinstance(tool.container, AutoContainer):
        mounted = {mount.name for mount in mounts}
        names += [n for f in existing if (n := f.path.removeprefix(MOUNT + "/")) not in mounted]
    return tuple(dict.fromkeys(names))[:FILES_TOLD_MAX]


async def _images(
    store: Store, stored: dict[str, StoredFile], items: Sequence[Item]
) -> dict[str, str]:
    """
    Return the pictures of messages as data URLs, those that a model can be shown.

    The newest are taken first, up to IMAGES_BYTES_MAX in all: each is sent with every turn.
    """
    images: dict[str, str] = {}
    room = IMAGES_BYTES_MAX
    for item in reversed(items):
        for part in item.parts if isinstance(item, MessageItem) else ():
            file = stored.get(part.file_id or "") if isinstance(part, ImagePart) else None
            if file is None or file.id in images or file.bytes > min(room, IMAGE_BYTES_MAX):
                continue
            room -= file.bytes
            data = b"".join([chunk async for chunk in store.blobs.read(file.blob_id)])
            if (mime := image_mime(data)) is not None:
                images[file.id] = f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"
    return images


def image_mime(data: bytes) -> str | None:
    """Return the type of a picture by its first bytes; None for what models are not shown."""
    for magic, mime in _MAGIC:
        if data.startswith(magic):
            return mime
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def _carried_over(stretches: Iterable[Stretch]) -> tuple[Artifact, ...]:
    """Return what earlier runs made and could not cite, as they stopped at a client's function."""
    waiting: list[Item] = []
    for stretch in stretches:
        waiting += stretch.items
        last = stretch.items[-1] if stretch.items else None
        if isinstance(last, MessageItem) and last.role == "assistant":
            waiting = []
    artifacts, _ = uncited_artifacts(waiting)
    cited = {
        citation.file_id
        for item in waiting
        if isinstance(item, MessageItem)
        for part in item.parts
        for citation in getattr(part, "citations", ())
    }
    return tuple(a for a in artifacts if a.file_id not in cited)
