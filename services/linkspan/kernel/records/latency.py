"""Latencies counted in buckets that grow by a tenth each: counts of several workers, partitions and minutes add up, and
a quantile of the sum is at most 5 % off."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

_GROWTH = 1.1
_LOG = math.log(_GROWTH)
#: About 77 hours; what took longer counts as that.
_LAST = 300


def bucket_of(micros: int) -> int:
    """The bucket of a latency; bucket n holds up to 1.1^n microseconds."""
    return 0 if micros <= 1 else min(_LAST, math.ceil(math.log(micros) / _LOG))


def quantile(counts: Mapping[int, int], share: float) -> float | None:
    """Seconds that ``share`` (0 to 1) of the counted latencies do not exceed; None where nothing was counted."""
    total = sum(counts.values())
    if not total:
        return None
    wanted, seen = share * total, 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if seen >= wanted and counts[bucket]:
            return float(2 * _GROWTH**bucket / (_GROWTH + 1) / 1e6)
    return None


def added(*parts: Mapping[int, int]) -> Counter[int]:
    total: Counter[int] = Counter()
    for part in parts:
        for bucket, count in part.items():
            total[bucket] += count
    return total
