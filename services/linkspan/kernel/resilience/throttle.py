"""At most so many deliveries a second, for callers that cannot wait."""

from __future__ import annotations

import math


class Throttle:
    """A token bucket that holds a tenth of a second; ``rate`` None does not limit. Times are the caller's, seconds."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._size = max(1.0, (rate or 0.0) / 10)
        self._tokens = self._size
        self._at = -math.inf

    def budget(self, now: float, wanted: int) -> int:
        if self._rate is None:
            return wanted
        if now > self._at:
            self._tokens = min(self._size, self._tokens + (now - self._at) * self._rate)
            self._at = now
        return min(wanted, int(self._tokens))

    def spend(self) -> None:
        self._tokens -= 1

    def wake_at(self) -> float | None:
        """When there is a token again; None where there is one."""
        if self._rate is None or self._tokens >= 1:
            return None
        return self._at + (1 - self._tokens) / self._rate
