"""Whether what became of archived events is known: their outcomes must reach as far back as they do."""

from __future__ import annotations

from datetime import UTC, datetime

from aiokafka import AIOKafkaConsumer, TopicPartition

from linkspan.kernel.archive.reader import ArchivedReader
from linkspan.kernel.errors import UserMistake

#: Outcomes bear the time of another machine than events do, milliseconds.
_CLOCKS_MS = 600_000
_READ_MS, _EMPTY = 1_000, 30

#: A partition, and from where to where it is read.
Log = tuple[TopicPartition, int, int]


class NotKnown(UserMistake):
    """What became of the oldest events that are asked for is not known any more."""


async def check_known(reader: AIOKafkaConsumer | ArchivedReader, events: Log, outcomes: Log) -> None:
    """Kafka alone keeps outcomes longer than events; an archive may have lost some of them. Raises NotKnown, and what a
    reader does."""
    if not isinstance(reader, ArchivedReader) or not reader.is_archived(events[0]) or outcomes[1] == 0:
        return
    here, told = await _time(reader, *events), await _time(reader, *outcomes)
    if here is None or (told is not None and told <= here + _CLOCKS_MS):
        return
    known = "" if told is None else datetime.fromtimestamp(told / 1000 + 1, UTC).isoformat(timespec="seconds")
    raise NotKnown(
        f"partition {events[0].partition}: what became of events before {known or 'now'} is not known: their outcomes "
        f"were lost before they were archived; plan --since {known or 'a later time'}"
    )


async def _time(reader: ArchivedReader, tp: TopicPartition, first: int, end: int) -> int | None:
    """Of the first record; None where there is none."""
    reader.assign([tp])
    reader.seek(tp, first)
    for _ in range(_EMPTY):
        if await reader.position(tp) >= end:
            return None
        for record in (await reader.getmany(tp, timeout_ms=_READ_MS, max_records=1)).get(tp, []):
            return int(record.timestamp)
    raise TimeoutError
