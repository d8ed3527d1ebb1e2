"""How long to wait before the next attempt."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

_DOUBLINGS = 32


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """``attempts`` that may be charged to a message; waits double from ``first`` to ``cap`` (seconds).

    Each wait is spread over +-20 %, so that many messages of one failure do not come back together.
    """

    attempts: int = 3
    first: float = 2.0
    cap: float = 60.0
    spread: random.Random = field(default_factory=random.Random)

    def delay(self, failures: int, asked: float | None = None) -> float:
        """Seconds after the ``failures``-th failure in a row; never less than the destination ``asked`` for."""
        grown = min(self.cap, self.first * 2.0 ** min(failures - 1, _DOUBLINGS))
        return max(grown * self.spread.uniform(0.8, 1.2), asked or 0.0)
