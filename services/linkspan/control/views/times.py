"""Microseconds since 1970 to and from protobuf's times."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp


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
    return moment.seconds * 1_000_000 + moment.nanos // 1_000
