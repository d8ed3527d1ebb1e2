"""When the machine stood still: what a receiver answers at once comes too late then, without any fault."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

#: A look that comes so much late, seconds, is a stall.
LATE = 0.25
_LOOK = 0.05

Span = tuple[float, float]
"""From, to: seconds since 1970."""


async def _watch(found: list[Span]) -> None:
    while True:
        before = time.time()
        await asyncio.sleep(_LOOK)
        now = time.time()
        if now - before > _LOOK + LATE:
            found.append((before, now))


@asynccontextmanager
async def stalls() -> AsyncIterator[list[Span]]:
    """Those of this event loop, which the receivers share, as long as this lasts."""
    found: list[Span] = []
    watching = asyncio.create_task(_watch(found))
    try:
        yield found
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
