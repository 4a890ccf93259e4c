"""What tests of containers and runs make and collect, in a line each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from sanderling.containers.happenings import ContainerHappening, OutputAppeared
from sanderling.containers.registry import Containers
from sanderling.ids import new_id
from sanderling.records import Container, Execution, StoredFile
from sanderling.store.store import Store

ORG = "org_a"


async def make_blob(store: Store, content: bytes) -> str:
    async with store.blobs.writer(bytes_max=1 << 30) as writer:
        await writer.write(content)
    return writer.blob_id


async def make_stored_file(
    store: Store,
    content: bytes = b"region,revenue\n",
    *,
    filename: str = "sales.csv",
    expires_at: float | None = None,
) -> StoredFile:
    file = StoredFile(
        id=new_id("file"),
        organization_id=ORG,
        filename=filename,
        purpose="user_data",
        bytes=len(content),
        created_at=0.0,
        blob_id=await make_blob(store, content),
        expires_at=expires_at,
    )
    await store.files.insert(file)
    return file


async def everything(
    containers: Containers, container: Container, code: str, *, timeout_s: float = 10.0
) -> list[ContainerHappening]:
    execution_id = new_id("exec")
    happenings: AsyncIterator[ContainerHappening] = containers.execute(
        container, code, execution_id=execution_id, timeout_s=timeout_s
    )
    return [happening async for happening in happenings]


async def execute(
    containers: Containers, container: Container, code: str, *, timeout_s: float = 10.0
) -> Execution:
    *_, last = await everything(containers, container, code, timeout_s=timeout_s)
    assert isinstance(last, Execution)
    return last


async def until_output(happenings: AsyncIterator[ContainerHappening]) -> OutputAppeared:
    """Wait for the next output of an execution at work."""
    happening = await anext(happenings)
    assert isinstance(happening, OutputAppeared)
    return happening


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until `condition` holds, at most ten seconds."""
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 - what the store says has no event
            await asyncio.sleep(0)


async def names(containers: Containers, container: Container) -> list[str]:
    files = await containers.all_files(container.id)
    return sorted(file.path.removeprefix("/mnt/data/") for file in files)


async def content(containers: Containers, container: Container, path: str) -> bytes:
    """Return the bytes that are kept of the file at `path`."""
    for file in await containers.all_files(container.id):
        if file.path == path:
            return b"".join([chunk async for chunk in containers.read(file)])
    raise AssertionError(f"{path} is not among the container's files")
