"""How fast a client may send: so many at once, then so many a second."""

from __future__ import annotations

from collections import OrderedDict

#: Buckets that are kept; the one that was not asked for the longest goes first, and is full when it comes again.
MOST = 10_000


class Bucket:
    """``rate`` a second, ``burst`` at once. Whoever takes more than there is goes into debt, and waits the longer.
    ``now``: seconds of any clock that never goes back."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self._rate, self._burst = rate, float(burst or max(1.0, rate))
        self._left, self._at = self._burst, now

    def wait(self, now: float) -> float:
        """Seconds until something may be taken; 0: now."""
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        missing = 1 - self._left
        return missing / self._rate if missing > 0 else 0.0

    def take(self, count: int) -> None:
        self._left -= count


class Buckets:
    """One for each name."""

    def __init__(self, rate: float, burst: int, most: int = MOST) -> None:
        self._rate, self._burst, self._most = rate, burst, most
        self._known: OrderedDict[str, Bucket] = OrderedDict()

    def of(self, name: str, now: float) -> Bucket:
        found = self._known.get(name)
        if found is None:
            if len(self._known) >= self._most:
                self._known.popitem(last=False)
            found = self._known[name] = Bucket(self._rate, self._burst, now)
        else:
            self._known.move_to_end(name)
        return found
