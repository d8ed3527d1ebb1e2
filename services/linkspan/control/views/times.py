"""Microseconds since 1970 to and from protobuf's times."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

#: 9999-12-31T23:59:59Z, the last that a Timestamp may say.
_LAST_SECOND = 253_402_300_799


def timestamp(micros: int | None) -> Timestamp | None:
    """None, an absent field, for None."""
    return None if micros is None else Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1_000)


def duration(micros: int | None) -> Duration | None:
    if micros is None:
        return None
    seconds, rest = divmod(abs(micros), 1_000_000)
    sign = -1 if micros < 0 else 1
    return Duration(seconds=sign * seconds, nanos=sign * rest * 1_000)


def micros_of(moment: Timestamp) -> int:
    """From 1970 to the year 9999: nothing of ours is older, and Kafka takes no time outside."""
    return max(0, min(moment.seconds, _LAST_SECOND)) * 1_000_000 + max(0, min(moment.nanos, 999_999_999)) // 1_000
