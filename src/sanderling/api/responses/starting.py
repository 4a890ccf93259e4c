"""From the body of a request to a run at work, and to the projection of its events."""

from __future__ import annotations

from dataclasses import replace

from sanderling.api.files import find_file
from sanderling.api.responses.events import ResponseProjection
from sanderling.api.responses.inputs import input_items
from sanderling.api.responses.requests import (
    CODE_OUTPUTS,
    CreateResponse,
    refuse_unsupported,
    run_request,
)
from sanderling.api.responses.tools import Auto, CodeInterpreter
from sanderling.api.services import Services
from sanderling.records import Run


async def start_response(
    body: CreateResponse,
    services: Services,
    organization_id: str,
    *,
    generate: bool = True,
    unstored: frozenset[str] = frozenset(),
) -> Run:
    """
    Start the run that `body` asks for; files that came inside it are taken back if it is wrong.

    generate: ask the model; else the run ends at once and only its input is there to go on from.
    unstored: runs that were not to be stored and that this client may continue all the same.

    Raises:
        RequestError, SandboxError: as `Runner.start`.
    """
    refuse_unsupported(body)
    await _check_tool_files(body, services, organization_id)
    inline: list[str] = []
    given = input_items(
        body.input, services=services, organization_id=organization_id, inline=inline
    )
    async with given as items:
        asked = run_request(body, items, organization_id=organization_id)
        asked = replace(
            asked,
            inline_file_ids=tuple(inline),
            generate=generate,
            continues_unstored=body.previous_response_id in unstored,
        )
        return await services.runner.start(asked)


async def _check_tool_files(body: CreateResponse, services: Services, organization_id: str) -> None:
    for index, tool in enumerate(body.tools or ()):
        if isinstance(tool, CodeInterpreter) and isinstance(tool.container, Auto):
            for position, file_id in enumerate(tool.container.file_ids or ()):
                param = f"tools[{index}].container.file_ids[{position}]"
                await find_file(services, organization_id, file_id, param=param)


def projection_of(run: Run, include: frozenset[str] = frozenset()) -> ResponseProjection:
    """Return the projection of the run's events as its request and `include` want them."""
    return ResponseProjection(
        run,
        with_outputs=shows_outputs(run, include),
        with_output_deltas=bool(run.request.echo.get("include_output_deltas")),
    )


def shows_outputs(run: Run, include: frozenset[str]) -> bool:
    """Whether what code printed is asked for, now or when the response was created."""
    return CODE_OUTPUTS in include or CODE_OUTPUTS in run.request.echo.get("include", ())
