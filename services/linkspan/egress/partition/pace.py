"""How fast a part of a replay goes: a token bucket whose rate may change at any moment."""

from __future__ import annotations

import math

#: A ramp begins with this share of the rate.
_FIRST = 0.1


def ramped(rate: float, ramp: float, since: float) -> float:
    """Of a rate that grows to the whole in ``ramp`` seconds, the one ``since`` seconds after its beginning."""
    return rate if ramp <= 0 else rate * min(1.0, _FIRST + (1 - _FIRST) * max(0.0, since) / ramp)


class Pace:
    """Holds a tenth of a second. Times are the caller's, seconds; a rate of 0 does not limit."""

    def __init__(self) -> None:
        self._tokens, self._at = 1.0, -math.inf
        self._rate = 0.0

    def budget(self, now: float, wanted: int, rate: float) -> int:
        if self._rate:
            grown = 0.0 if now <= self._at else min(1e9, (now - self._at) * self._rate)
            self._tokens = min(max(1.0, self._rate / 10), self._tokens + grown)
        self._rate, self._at = rate, max(now, self._at)
        return wanted if rate <= 0 else min(wanted, int(self._tokens))

    def spend(self) -> None:
        self._tokens = max(-1.0, self._tokens - 1)

    def wake_at(self) -> float | None:
        """When there is a token again; None where there is one, or no limit."""
        if self._rate <= 0 or self._tokens >= 1:
            return None
        return self._at + (1 - self._tokens) / self._rate
