"""
The watch that ends idle containers.

A container past its deadline is also refused, and expired, by whoever asks for it first; this watch
is what gives the machine its memory back when nobody asks.
"""

from __future__ import annotations

import asyncio

from sanderling.containers.registry import Containers
from sanderling.errors import SanderlingError
from sanderling.observe import logs


async def expire_forever(containers: Containers, *, every_s: float = 15.0) -> None:
    """
    Expire idle containers again and again until cancelled; the caller owns the task.

    Args:
        every_s: seconds between two looks. A box of 4 MiB may stay that much longer than promised;
            clients see the exact deadline either way.
    """
    while True:
        try:
            await containers.expire_idle()
            await containers.close_strays()
        except SanderlingError as error:
            logs.error("expiry.failed", reason=error.message)
        await asyncio.sleep(every_s)
