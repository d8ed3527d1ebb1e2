"""Whether the system of a lookup is asked now, and what its answers say of it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from linkspan.kernel.errors import DeliveryError, Transient, Unavailable
from linkspan.kernel.http.client import AnswerTooLong
from linkspan.kernel.resilience.breaker import PROBES, Breaker, Doubt, Ticket
from linkspan.kernel.resilience.breaker_told import BreakerTold
from linkspan.kernel.resilience.limits import Limits
from linkspan.kernel.resilience.retry import RetryPolicy
from linkspan.kernel.spec import System
from linkspan.kernel.telemetry.traces import Tracing

#: Paths whose last request failed are remembered, so many at most.
_DOUBTED = 1_000


@dataclass(frozen=True, slots=True)
class Cause:
    """On behalf of what a system is asked: spans go below ``traceparent``, and belong to ``correlation_id``."""

    tracing: Tracing
    traceparent: str | None
    correlation_id: str = ""


class Asked:
    """The breaker before one lookup, with the rules of deliveries; a path stands where a message stands there."""

    def __init__(self, name: str, to: str, system: System) -> None:
        retry = system.retry
        self._breaker = Breaker(RetryPolicy(retry.attempts, retry.first, retry.cap), PROBES)
        self._told = BreakerTold(self._breaker, name, to)
        self._doubts: OrderedDict[str, Doubt] = OrderedDict()

    def check(self) -> None:
        """Raises Unavailable while the system is not asked."""
        now = asyncio.get_running_loop().time()
        if self._breaker.budget(now, 1) < 1:
            wake_at = self._breaker.wake_at()
            wait = None if wake_at is None else max(0.0, wake_at - now)
            raise Unavailable(self._breaker.reason or "it was away, and is tried carefully", retry_after=wait)

    def ask_now(self) -> None:
        """As after its pause."""
        self._breaker.ask_now(asyncio.get_running_loop().time())

    @contextmanager
    def asking(self, path: str, limits: Limits) -> Iterator[None]:
        """Around one request. Raises Unavailable as ``check`` does, and Transient instead of asking where the path's
        last failure is known to be its own: others are answered."""
        self.check()
        doubt = self._doubts.pop(path, None)
        if doubt is not None and doubt.due:
            doubt.due = False
            self._doubts[path] = doubt
            raise Transient(doubt.error.reason)
        ticket = self._breaker.submitted(doubt)
        try:
            yield
        except Unavailable as error:
            limits.answered(error)
            self._ended(path, self._answered(ticket, error))
            raise
        except AnswerTooLong:
            self._ended(path, self._answered(ticket, None))
            raise
        except BaseException:
            self._ended(path, self._breaker.unsent(ticket))
            raise
        self._ended(path, self._answered(ticket, None))

    def _answered(self, ticket: Ticket, error: DeliveryError | None) -> Doubt | None:
        return self._breaker.answered(ticket, error, asyncio.get_running_loop().time())

    def _ended(self, path: str, doubt: Doubt | None) -> None:
        if doubt is not None:
            self._doubts[path] = doubt
            if len(self._doubts) > _DOUBTED:
                self._doubts.popitem(last=False)
        self._told.look()
