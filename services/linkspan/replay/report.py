"""What a plan says besides its list: how its records stood, when they were accepted, whose they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from heapq import nsmallest

import msgspec

from linkspan.kernel.records.plan import PlanHead
from linkspan.replay.chosen import HOUR
from linkspan.replay.content import EventContent
from linkspan.replay.scan import Part

#: Keys that are named, the busiest.
KEYS = 20


class KeyCount(msgspec.Struct, frozen=True):
    key: str
    count: int


class Report(msgspec.Struct, frozen=True):
    """JSON in the head. ``statuses``: records by status of the message; ``hours``: by the hour of acceptance,
    ``2026-11-28T14:00Z``; ``rate``: messages a second that the estimate counts on, 0: not known; ``failures``: messages
    of which the predicate could not be asked, and ``failure`` why, of the first: they are not in the list."""

    statuses: dict[str, int] = {}
    hours: dict[str, int] = {}
    keys: tuple[KeyCount, ...] = ()
    distinct_keys: int = 0
    rate: float = 0.0
    scanned: int = 0
    failures: int = 0
    failure: str = ""

    @property
    def json(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def of(cls, head: PlanHead) -> Report:
        """Empty where the head has none that this version reads."""
        try:
            return msgspec.json.decode(head.report, type=cls)
        except msgspec.MsgspecError:
            return cls()


def report_of(parts: Iterable[Part], content: EventContent, scanned: int, rate: float) -> Report:
    statuses, hours, keys = Counter[str](), Counter[int](), list[tuple[int, bytes]]()
    distinct = 0
    for part in parts:
        statuses += part.chosen.statuses
        hours += part.chosen.hours
        counted = list(part.chosen.keys)
        distinct += len(counted)
        keys = nsmallest(KEYS, [*keys, *((-count, key) for key, count in counted)])
    return Report(
        dict(sorted(statuses.items())),
        {_hour(number): count for number, count in sorted(hours.items())},
        tuple(KeyCount(key.decode("utf-8", "replace"), -count) for count, key in keys),
        distinct,
        rate,
        scanned,
        content.failures,
        content.failure,
    )


def _hour(number: int) -> str:
    return datetime.fromtimestamp(number * HOUR // 1_000_000, UTC).strftime("%Y-%m-%dT%H:00Z")
