"""
A reply that is worked out while its client waits, and given up when the client leaves.

The web server calls a route and tells it nothing of the client until there is a reply to send. So
what takes long, and is of no use to anybody else, is done by the reply itself, which listens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

Work = Callable[[AsyncExitStack], Awaitable[Response]]


class Awaited(Response):
    """
    Calls `work` and sends the reply it returns.

    What `work` pushes on the stack it is given is undone when the reply has been sent, when the
    client has left, or when something went wrong: whichever comes first.
    """

    def __init__(self, work: Work) -> None:
        super().__init__()
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as stack:
            reply = await self._worked_out(stack, receive)
            if reply is not None:
                await reply(scope, receive, send)

    async def _worked_out(self, stack: AsyncExitStack, receive: Receive) -> Response | None:
        """Return the reply, or None if nobody waits for it any more."""
        work = asyncio.ensure_future(self._work(stack))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return work.result() if work.done() else None
        finally:
            work.cancel()
            leaving.cancel()
            await asyncio.gather(work, leaving, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
