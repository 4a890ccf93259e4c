"""
The container of one run: found or made when the model first writes code, and not before.

An explicit container is the client's and is used as it is. An `auto` container belongs to the
chain: the latest one that is still running is used again; if there is none, or if it goes away in
the middle of the run, a new one takes its place with the chain's files in it, and nobody is
bothered with the difference.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from sanderling.containers.happenings import ContainerHappening
from sanderling.containers.registry import Containers
from sanderling.errors import Expired, NotFound, RequestError, SandboxError
from sanderling.records import AutoContainer, CodeTool, Container, ContainerFile
from sanderling.runs.mounts import Mount

AUTO_NAME = "auto"


class Workspace:
    """Where one run's code runs."""

    def __init__(
        self,
        containers: Containers,
        organization_id: str,
        *,
        tool: CodeTool | None,
        container_id: str | None,
        mounts: Sequence[Mount],
        timeout_s: float,
    ) -> None:
        """
        container_id: the container to use; None if an `auto` one must be made.
        mounts: the files to put into it before code runs.
        """
        self._containers = containers
        self._organization_id = organization_id
        self._tool = tool
        self._container_id = container_id
        self._opened: Container | None = None
        self._mounts = {mount.file_id: mount.name for mount in mounts}
        self._outstanding = {mount.file_id for mount in mounts if not mount.is_done}
        self._timeout_s = timeout_s

    @property
    def offers_code(self) -> bool:
        """Whether the run may run code at all."""
        return self._tool is not None

    async def open(self) -> Container:
        """
        Return the running container with the run's files in it; its box is being made meanwhile.

        Raises:
            NotFound, Expired: the explicit container is gone.
            SandboxError, InvalidRequest, TooLarge: it cannot be made, or a file does not fit.
        """
        container = await self._find()
        self._container_id = container.id
        for file_id, name in self._mounts.items():
            if file_id in self._outstanding:
                await self._mount(container.id, file_id, name)
                self._outstanding.discard(file_id)
        self._containers.prepare(container)
        self._opened = container
        return container

    async def _find(self) -> Container:
        assert self._tool is not None, "only a run with the code tool opens a workspace"
        if self._container_id is not None:
            try:
                return await self._containers.get(self._organization_id, self._container_id)
            except (Expired, NotFound):
                if not isinstance(self._tool.container, AutoContainer):
                    raise
        assert isinstance(self._tool.container, AutoContainer)
        self._outstanding = set(self._mounts)
        return await self._containers.create(
            self._organization_id,
            name=AUTO_NAME,
            memory_limit=self._tool.container.memory_limit,
            allowed_domains=self._tool.container.allowed_domains,
            environment=self._tool.container.environment,
            read_only=self._tool.container.read_only,
        )

    async def _mount(self, container_id: str, file_id: str, name: str) -> None:
        try:
            await self._containers.add_stored_file(
                self._organization_id, container_id, file_id, filename=name
            )
        except NotFound:
            return  # deleted since the run began; the code finds it missing and says so

    async def execute(self, code: str, execution_id: str) -> AsyncIterator[ContainerHappening]:
        """
        Run a cell; yield as `Containers.execute` does. Closing the iterator does not stop it.

        Raises:
            NotFound, Expired: the explicit container is gone.
            SandboxError: nothing could be run.
        """
        container = self._opened or await self.open()
        try:
            async for happening in self._execute_in(container, code, execution_id):
                yield happening
        except (Expired, NotFound):
            # It went between `open` and now, so nothing was run. The second time is final.
            container = await self.open()
            async for happening in self._execute_in(container, code, execution_id):
                yield happening

    def _execute_in(
        self, container: Container, code: str, execution_id: str
    ) -> AsyncIterator[ContainerHappening]:
        return self._containers.execute(
            container, code, execution_id=execution_id, timeout_s=self._timeout_s
        )

    async def interrupt(self, execution_id: str) -> None:
        """Interrupt the run's execution; nothing to do if it is over or its container is gone."""
        if self._container_id is None:
            return
        try:
            await self._containers.interrupt(
                self._organization_id, self._container_id, execution_id
            )
        except (RequestError, SandboxError):
            return  # gone, or nobody to ask: then nothing runs on our behalf either

    async def files(self) -> list[ContainerFile]:
        """Return the files that can be cited: none while there is no container."""
        if self._container_id is None:
            return []
        return await self._containers.all_files(self._container_id)
