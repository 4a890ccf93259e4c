"""Closing an asynchronous iterator that one stops reading, whatever made it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

T = TypeVar("T")


@asynccontextmanager
async def closing(iterator: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """
    Give `iterator` and close it at the end of the block, read out or not.

    `contextlib.aclosing` wants an `aclose`, which generators have and the Protocols here do not
    ask for.
    """
    try:
        yield iterator
    finally:
        close = getattr(iterator, "aclose", None)
        if close is not None:
            await close()
