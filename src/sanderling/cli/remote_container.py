"""Where `sanderling exec --base-url` runs a cell: a container of a server, made for it."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI, AsyncStream

from sanderling.cli.answering import sdk_errors_as_ours
from sanderling.cli.execution import Job, Place
from sanderling.containers import parts
from sanderling.errors import ProtocolBroken
from sanderling.sandbox.base import (
    ChangedFile,
    Cleared,
    Ended,
    Error,
    Happening,
    Image,
    Logs,
    Result,
)


@dataclass
class RemoteContainer:
    """A container of a server, used through the executions endpoint. Fills in what it learns."""

    client: AsyncOpenAI
    container_id: str
    execution_id: str | None = None
    file_ids: dict[str, str] = field(default_factory=dict)  # path -> cfile_…

    async def run(self, job: Job) -> AsyncIterator[Happening]:
        for file in job.files:
            with file.open("rb") as source:
                await self.client.containers.files.create(self.container_id, file=source)
        stream: AsyncStream[Any] = await self.client.post(
            f"/containers/{self.container_id}/executions",
            body={"code": job.code, "timeout_seconds": job.timeout_s, "stream": True},
            cast_to=object,
            stream=True,
            stream_cls=AsyncStream[Any],
        )
        async with stream:
            async for event in stream:
                match event["type"]:
                    case "container.execution.started":
                        self.execution_id = event["execution"]["id"]
                    case "container.execution.output":
                        yield await self._happening(event["output"])
                    case "container.execution.cleared":
                        yield Cleared()
                    case "container.execution.completed":
                        yield self._ended(event["execution"])

    async def _happening(self, output: dict[str, Any]) -> Happening:
        match output["type"]:
            case "logs":
                return Logs(output["stream"], output["logs"])
            case "result":
                return Result(output["text"], _parts(output))
            case "error":
                return Error(output["name"], output["message"], output["traceback"])
            case "image":
                file = await self.client.containers.files.retrieve(
                    output["file_id"], container_id=self.container_id
                )
                header, _, encoded = output["url"].partition(",")
                mime = header.removeprefix("data:").partition(";")[0]
                data = base64.b64decode(encoded)
                name = Path(file.path).name
                return Image(mime, data, name, saved_path=file.path, parts=_parts(output))
        raise ProtocolBroken(f"The server sent an output of an unknown kind: {output['type']}.")

    def _ended(self, execution: dict[str, Any]) -> Ended:
        files = [file for file in execution["files"] if file["status"] != "deleted"]
        self.file_ids = {file["path"]: file["id"] for file in files}
        return Ended(
            status=execution["status"],
            duration_ms=execution["duration_ms"],
            changed=tuple(ChangedFile(f["path"], f["bytes"]) for f in files),
            removed=(),
            notice=None,  # a server puts it into the logs
            is_fresh=False,
        )

    async def interrupt(self) -> None:
        if self.execution_id is not None:
            await self.client.post(
                f"/containers/{self.container_id}/executions/{self.execution_id}/cancel",
                cast_to=object,
            )

    async def read(self, path: str) -> AsyncIterator[bytes]:
        content = self.client.containers.files.content.with_streaming_response.retrieve(
            self.file_ids[path], container_id=self.container_id
        )
        async with content as body:
            async for chunk in body.iter_bytes():
                yield chunk


def _parts(output: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return what a server tells of a value beside its text or picture."""
    data = tuple((str(mime), str(text)) for mime, text in output.get("data", {}).items())
    chart = output.get("chart")
    return data if chart is None else (*data, (parts.CHART_TYPE, json.dumps(chart)))


@asynccontextmanager
async def on_server(
    base_url: str, api_key: str | None, memory_limit: str, environment: str | None = None
) -> AsyncIterator[Place]:
    """
    Make a container on a server; delete it on leaving.

    environment: of the server's; None: its usual one.

    Raises:
        SanderlingError: the server cannot be reached, or refuses.
    """
    with sdk_errors_as_ours(base_url):
        # A key must be given to the SDK; a server without keys does not look at it.
        async with AsyncOpenAI(base_url=base_url, api_key=api_key or "none") as client:
            container = await client.containers.create(
                name="sanderling exec",
                memory_limit=memory_limit,  # type: ignore[arg-type]
                extra_body={} if environment is None else {"environment": environment},
            )
            try:
                yield RemoteContainer(client, container.id)
            finally:
                await client.containers.delete(container.id)
