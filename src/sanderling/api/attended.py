"""
Runs that end with the client that waits for them, because it has no id to come back by.

Two dialects are like that: chat completions and `model/response`. Their runs are like all others
and are not to be stored.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing

from sanderling.errors import InvalidRequest, RateLimited, SanderlingError
from sanderling.records import Run, RunError
from sanderling.runs.events import Event, RunChanged, is_terminal
from sanderling.runs.runner import Runner


async def attend(
    runner: Runner, run: Run, stack: AsyncExitStack
) -> tuple[list[Event], AsyncGenerator[Event, None]]:
    """
    Return the events of a run up to the first that there is something to show of, and the rest.

    When `stack` is closed the run is stopped, unless it has ended.

    Raises:
        SanderlingError: it failed before it said or did anything.
    """
    events = await stack.enter_async_context(aclosing(_events(runner, run)))
    early: list[Event] = []
    async for event in events:
        early.append(event)
        if isinstance(event, RunChanged) and event.error is not None:
            raise failure(event.error)
        if not isinstance(event, RunChanged) or is_terminal(event):
            break
    return early, events


async def _events(runner: Runner, run: Run) -> AsyncGenerator[Event, None]:
    has_ended = False
    try:
        async for _, event in runner.follow(run.id):
            has_ended = is_terminal(event)
            yield event
    finally:
        if not has_ended:
            runner.abandon(run.id)
        await runner.let_go(run)


def failure(error: RunError) -> SanderlingError:
    """Return what a run failed by as an error that a request can fail by."""
    match error.code:
        case "rate_limit_exceeded":
            return RateLimited(error.message)
        case "invalid_prompt":
            return InvalidRequest(error.message, code="invalid_prompt")
        case _:
            return SanderlingError(error.message)
