"""
Executions, an extension: run a cell in a container without any model.

    POST /v1/containers/{id}/executions                         {"code": "1 + 1"}
    POST /v1/containers/{id}/executions/{execution_id}/cancel

With `"stream": true` the same object arrives piece by piece while the code runs; the events are in
docs/api-extensions.md. What the code does is never an HTTP error: it is the object's `status`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any, assert_never

from fastapi import APIRouter, Request, Response
from pydantic import Field

from sanderling.api import errors, shapes
from sanderling.api.bodies import json_model
from sanderling.api.cells import RunningCell
from sanderling.api.describing import described
from sanderling.api.replies import json_reply
from sanderling.api.routing import Organization, Partners
from sanderling.api.sse import EventStream, frame
from sanderling.api.validation import RequestModel
from sanderling.containers.happenings import OutputAppeared, OutputsCleared
from sanderling.errors import NotFound, SanderlingError
from sanderling.ids import new_id
from sanderling.observe import logs
from sanderling.records import (
    Artifact,
    ErrorOutput,
    Execution,
    ImageOutput,
    LogsOutput,
    Output,
    ResultOutput,
)

router = APIRouter(prefix="/containers/{container_id}/executions")

# A megabyte of source is not written by anybody; the kernel's frames stay small.
CODE_CHARS_MAX = 1 << 20
# Longer work belongs into several cells: a connection that waits an hour does not survive anyway.
TIMEOUT_S_MAX = 3600.0
# A box that is still being made does not know the execution yet: how soon to ask again.
_ASK_AGAIN_S = 0.05


class CreateExecution(RequestModel):
    code: Annotated[str, Field(max_length=CODE_CHARS_MAX)]
    timeout_seconds: Annotated[float, Field(gt=0.0, le=TIMEOUT_S_MAX)] | None = None
    stream: bool | None = None


def output_object(output: Output) -> dict[str, Any]:
    """Return one output as clients see it."""
    match output:
        case LogsOutput():
            return {"type": "logs", "stream": output.stream, "logs": output.logs}
        case ResultOutput():
            return {"type": "result", "text": output.text, **_data(output)}
        case ImageOutput():
            image = {"type": "image", "url": output.data_url, "file_id": output.file_id}
            chart = {} if output.chart is None else {"chart": output.chart}
            return {**image, **_data(output), **chart}
        case ErrorOutput():
            return {
                "type": "error",
                "name": output.name,
                "message": output.message,
                "traceback": output.traceback,
            }
        case _:
            assert_never(output)


def _data(output: ResultOutput | ImageOutput) -> dict[str, Any]:
    return {"data": output.data} if output.data else {}


def artifact_object(artifact: Artifact) -> dict[str, Any]:
    """Return a file that code made, changed, renamed or deleted, as a container file and more."""
    return {
        "id": artifact.file_id,
        "object": "container.file",
        "bytes": artifact.bytes,
        "container_id": artifact.container_id,
        "created_at": int(artifact.created_at),
        "path": artifact.path,
        "source": artifact.source,
        "status": artifact.change,
        "previous_path": artifact.previous_path,
        "mime_type": artifact.mime_type,
    }


def execution_object(execution: Execution) -> dict[str, Any]:
    """Return the execution as clients see it."""
    return {
        "id": execution.id,
        "object": "container.execution",
        "container_id": execution.container_id,
        "status": execution.status,
        "outputs": [output_object(output) for output in execution.outputs],
        "files": [artifact_object(artifact) for artifact in execution.artifacts],
        "duration_ms": round(execution.duration_ms, 3),
    }


@router.post("")
@described(shapes.Execution, json=CreateExecution, statuses=(503,), is_streamed=True)
async def create_execution(
    container_id: str, request: Request, services: Partners, organization_id: Organization
) -> Response:
    """Run a cell in the container; reply when it has ended, or stream while it runs."""
    body = await json_model(request, CreateExecution)
    container = await services.containers.get(organization_id, container_id)
    execution_id = new_id("exec")
    timeout_s = body.timeout_seconds or services.settings.execution_timeout_s
    cell = services.cells.start(
        services.containers.execute(
            container, body.code, execution_id=execution_id, timeout_s=timeout_s
        ),
        execution_id=execution_id,
        container_id=container_id,
        organization_id=organization_id,
    )
    if body.stream:
        return EventStream(_frames(cell))
    return json_reply(execution_object(await cell.result()))


@router.post("/{execution_id}/cancel")
@described(shapes.Execution, statuses=(503,))
async def cancel_execution(
    container_id: str, execution_id: str, services: Partners, organization_id: Organization
) -> Response:
    """
    Interrupt a running or queued cell; reply with how it ended.

    Also a cell that caught the interrupt is `interrupted`; one that was over before is what it was.
    """
    await services.containers.get(organization_id, container_id)
    cell = services.cells.find(organization_id, container_id, execution_id)
    if cell is None:
        raise NotFound(
            f"No running execution with id '{execution_id}' in container '{container_id}'.",
            param="execution_id",
        )
    while not await services.containers.interrupt(organization_id, container_id, execution_id):
        if await cell.ended_within(_ASK_AGAIN_S):
            break
    return json_reply(execution_object(await cell.result()))


async def _frames(cell: RunningCell) -> AsyncGenerator[bytes, None]:
    number = 0

    def event(name: str, **data: Any) -> bytes:
        nonlocal number
        number += 1
        return frame(name, {"type": name, "sequence_number": number - 1, **data})

    started = {
        "id": cell.execution_id,
        "object": "container.execution",
        "container_id": cell.container_id,
        "status": "in_progress",
    }
    yield event("container.execution.started", execution=started)
    try:
        async for happening in cell.follow():
            match happening:
                case OutputAppeared(index=index, output=output):
                    data = {"execution_id": cell.execution_id, "index": index}
                    yield event("container.execution.output", **data, output=output_object(output))
                case OutputsCleared():
                    yield event("container.execution.cleared", execution_id=cell.execution_id)
                case Execution():
                    yield event(
                        "container.execution.completed", execution=execution_object(happening)
                    )
                case _:
                    assert_never(happening)
    except SanderlingError as error:
        yield event("error", **errors.body_of(error))
    except Exception as error:  # noqa: BLE001 the request boundary, once the stream has begun
        logs.error("request.failed", cause=error, method="POST", route=router.prefix)
        yield event("error", **errors.server_fault(cell.execution_id))
