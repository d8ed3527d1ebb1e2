"""Stops asking a destination that is away, and lets one message a time find out whether it is back.

The first form of the breaker in ``delivery.md``: lanes hand out another key for each probe, since a message that
failed waits for its own back-off; charging a message that fails alone comes with the probe rounds.
"""

from __future__ import annotations

import math

from linkspan.egress.partition.retry import RetryPolicy
from linkspan.kernel.errors import DeliveryError, FailureClass


class Breaker:
    """Times are the caller's, in seconds; pauses follow ``retry``."""

    def __init__(self, retry: RetryPolicy) -> None:
        self._retry = retry
        self._paused_since = math.inf
        self._paused_until: float | None = None
        self._probing = False
        self._failures = 0
        self._last_answer = -math.inf
        self.reason: str | None = None

    @property
    def open(self) -> bool:
        return self._paused_until is not None

    def budget(self, now: float, wanted: int) -> int:
        if self._paused_until is None:
            return wanted
        return 0 if self._probing or now < self._paused_until else min(1, wanted)

    def submitted(self) -> None:
        self._probing = self._paused_until is not None

    def answered(self, error: DeliveryError | None, started: float, now: float) -> None:
        """``started``: when the attempt that ended was submitted."""
        away = error is not None and error.failure is FailureClass.UNAVAILABLE
        probe = started >= self._paused_since
        if not away:
            self._last_answer = now
            if probe:
                self._close()
        elif error is not None and (probe or (not self.open and self._concerns_all(error, started))):
            self._failures += 1
            self._paused_since = self._paused_since if probe else now
            self._paused_until = now + self._retry.delay(self._failures, error.retry_after)
            self._probing = False
            self.reason = error.reason

    def _concerns_all(self, error: DeliveryError, started: float) -> bool:
        """A message that failed while later ones were answered fails alone, unless it was told "later"."""
        return error.retry_after is not None or self._last_answer <= started

    def _close(self) -> None:
        self._paused_since = math.inf
        self._paused_until = None
        self._probing = False
        self._failures = 0
        self.reason = None

    def wake_at(self) -> float | None:
        return None if self._probing else self._paused_until
