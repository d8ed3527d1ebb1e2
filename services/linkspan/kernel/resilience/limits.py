"""What one system is asked for at most by this process: so many requests a second, and so many at once."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from linkspan.kernel.errors import DeliveryError, RateLimited
from linkspan.kernel.resilience.throttle import Throttle
from linkspan.kernel.spec import Integration, System
from linkspan.kernel.telemetry.metrics import RATE_LIMITS

log = structlog.get_logger()

#: Seconds between two lines about the same limit.
_TOLD_EVERY = 5.0


class Limits:
    """Shared by everything in this process that speaks to the system: deliveries, lookups, polls, notices.

    Whoever can wait takes a ``turn``. Whoever cannot asks for a ``budget``, says ``begin`` and ``end`` of each request,
    and is called (``listen``) when there may be a budget again; the listeners take turns at being the first. So many
    as ``together`` says share one request, of which each counts for the rate, and all of them once for what is at once.
    """

    def __init__(self, system: str, rate: float | None, concurrency: int) -> None:
        self.concurrency = concurrency
        self._system, self._rate = system, rate
        self._throttle = Throttle(rate)
        self._under_way = 0
        self._in_batches: Counter[int] = Counter()
        self._full = False
        self._listeners: deque[Callable[[], None]] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._count = {limit: RATE_LIMITS.labels(system, limit) for limit in ("applied", "met")}
        self._told = dict.fromkeys(self._count, float("-inf"))

    @classmethod
    def of(cls, name: str, system: System) -> Limits:
        return cls(name, system.throttle.rate, system.concurrency)

    def listen(self, wake: Callable[[], None]) -> None:
        self._listeners.append(wake)

    def budget(self, now: float, wanted: int, together: int = 1) -> int:
        """How many of ``wanted`` may go at ``now``, the event loop's time."""
        free = self.concurrency - self._under_way
        if self._in_batches or together > 1:
            batched = sum(-(-count // size) for size, count in self._in_batches.items())
            free = max(0, free - batched) * together + -self._in_batches[together] % together
        if wanted > free:
            self._full = self._full or free <= 0
            wanted = max(0, free)
        allowed = self._throttle.budget(now, wanted)
        if allowed < wanted and self._timer is None:
            self._apply(now)
        return allowed

    @property
    def holds_back(self) -> bool:
        """Somebody was given less than was wanted, and waits."""
        return self._full or self._timer is not None

    def begin(self, together: int = 1) -> None:
        if together == 1:
            self._under_way += 1
        else:
            self._in_batches[together] += 1
        self._throttle.spend()

    def end(self, together: int = 1) -> None:
        if together == 1:
            self._under_way -= 1
        else:
            self._in_batches[together] -= 1
        if self._full:
            self._full = False
            self._wake()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        while self.budget(loop.time(), 1) < 1:
            waiting = loop.create_future()
            self._waiting.append(waiting)
            await waiting
        self.begin()
        try:
            yield
        finally:
            self.end()

    def answered(self, error: DeliveryError | None) -> None:
        """Of each request: a limit that the system itself applied (429) is told and counted."""
        if isinstance(error, RateLimited):
            self._count["met"].inc()
            self._tell("met", reason=error.reason, retryAfter=error.retry_after)

    def _apply(self, now: float) -> None:
        """A limit that is ours holds something back: once for each time that it does."""
        self._count["applied"].inc()
        self._tell("applied", rate=self._rate)
        at = self._throttle.wake_at()
        self._timer = asyncio.get_running_loop().call_at(now if at is None else at, self._timed)

    def _tell(self, limit: str, **facts: str | float | None) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._told[limit] >= _TOLD_EVERY:
            self._told[limit] = now
            log.warning("rate limit", limit=limit, system=self._system, **facts)

    def _timed(self) -> None:
        self._timer = None
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for future in waiting:
            if not future.done():
                future.set_result(None)
        self._listeners.rotate(-1)
        for wake in tuple(self._listeners):
            wake()


def limits_of(integration: Integration) -> dict[str, Limits]:
    """Of each system, for one process."""
    return {name: Limits.of(name, system) for name, system in integration.systems.items()}
