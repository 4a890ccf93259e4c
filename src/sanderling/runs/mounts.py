"""
Which files a run's container must hold, and under which names. Pure.

Files come with requests: as parts of messages and in the tool's own list. A file keeps its own name
below /mnt/data; when two files share one, the later gets `name_1.ext`. The plan is made before the
first turn, because the model is told the names, and carried out when code first runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sanderling.containers.names import MOUNT, free_name, safe_name
from sanderling.records import (
    AutoContainer,
    CodeTool,
    CompactionItem,
    ContainerFile,
    FilePart,
    ImagePart,
    Item,
    MessageItem,
    RunRequest,
    StoredFile,
)


@dataclass(frozen=True, slots=True)
class Mount:
    """A stored file and its name below /mnt/data. `is_done`: the container has it already."""

    file_id: str
    name: str
    is_done: bool


@dataclass(frozen=True, slots=True)
class FileSet:
    """The file ids one run brought, and the container it ended up with, if it ran code."""

    file_ids: tuple[str, ...]
    container_id: str | None


def code_tool(request: RunRequest) -> CodeTool | None:
    """Return the request's code tool, if it has one."""
    return next((tool for tool in request.tools if isinstance(tool, CodeTool)), None)


def tool_file_ids(request: RunRequest) -> tuple[str, ...]:
    """Return the ids of the files listed with the code tool."""
    tool = code_tool(request)
    if tool is None or not isinstance(tool.container, AutoContainer):
        return ()
    return tool.container.file_ids


def input_file_ids(items: Sequence[Item]) -> Iterator[str]:
    """Yield the ids of the files in messages, and of those that a compaction keeps."""
    for item in items:
        if isinstance(item, CompactionItem):
            yield from item.file_ids
        elif isinstance(item, MessageItem):
            for part in item.parts:
                if isinstance(part, FilePart | ImagePart) and part.file_id is not None:
                    yield part.file_id


def plan(
    file_sets: Sequence[FileSet],
    *,
    stored: Mapping[str, StoredFile],
    container_id: str | None,
    existing: Sequence[ContainerFile],
) -> tuple[Mount, ...]:
    """
    Return a mount for every file of the chain that can still be had.

    Args:
        file_sets: what each run of the chain brought, oldest first.
        stored: the stored files by id; ids not in it were deleted.
        container_id: the container that will be used, None if it does not exist yet.
        existing: the files in it.

    A run that used the container mounted everything brought up to then, so those files are done
    even if code has changed or removed them since: what the user gave is not forced on it twice.
    """
    users = [
        index
        for index, files in enumerate(file_sets)
        if container_id is not None and files.container_id == container_id
    ]
    done_upto = max(users, default=-1)
    name_of_blob = {f.blob_id: f.path.removeprefix(MOUNT + "/") for f in existing}
    # Code may have changed it since, and a client that keeps no state gives it again and again.
    name_of_origin = {f.origin_id: f.path.removeprefix(MOUNT + "/") for f in existing}
    taken = set(name_of_blob.values())
    given: dict[str, Mount] = {}
    for index, files in enumerate(file_sets):
        for file_id in files.file_ids:
            if file_id in given or file_id not in stored:
                continue
            file = stored[file_id]
            name = name_of_blob.get(file.blob_id) or name_of_origin.get(file.id)
            is_done = name is not None or index <= done_upto
            if name is None:
                others = {mount.name for mount in given.values()}
                # The name it got back then is free of the others; what has it now is its successor.
                name = free_name(safe_name(file.filename), others if is_done else others | taken)
            given[file_id] = Mount(file_id, name, is_done)
    return tuple(given.values())
