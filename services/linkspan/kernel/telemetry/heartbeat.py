"""Four times a second: how late the event loop is, and log lines that are due."""

from __future__ import annotations

import asyncio

from linkspan.kernel.telemetry.logs import tell_left_out
from linkspan.kernel.telemetry.metrics import EVENT_LOOP_DELAY_SECONDS

#: Seconds between two looks.
EVERY = 0.25


class Heartbeat:
    """Begins in the running event loop, and goes on until ``stop``."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + EVERY
        self._timer = self._loop.call_at(self._due, self._beat)

    def _beat(self) -> None:
        now = self._loop.time()
        EVENT_LOOP_DELAY_SECONDS.observe(max(0.0, now - self._due))
        tell_left_out()
        self._due = now + EVERY
        self._timer = self._loop.call_at(self._due, self._beat)

    def stop(self) -> None:
        self._timer.cancel()
