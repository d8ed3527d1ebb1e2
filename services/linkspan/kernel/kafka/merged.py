"""Reads several partitions as one log, by the time of their records. The order of each partition is kept."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

_FETCH_MS, _MOST = 1_000, 5_000


async def merged(reader: AIOKafkaConsumer, spans: Mapping[TopicPartition, tuple[int, int]]) -> AsyncIterator[Any]:
    """Records of each partition from its first offset to before its end; the same ones come in the same order each
    time. Raises KafkaError."""
    waiting: dict[TopicPartition, deque[Any]] = {tp: deque() for tp, (first, end) in spans.items() if first < end}
    heads: list[tuple[int, int, TopicPartition]] = []
    reader.assign(list(waiting))
    for tp in waiting:
        reader.seek(tp, spans[tp][0])
    empty = set(waiting)
    while True:
        while empty:
            for tp, records in (await reader.getmany(*empty, timeout_ms=_FETCH_MS, max_records=_MOST)).items():
                waiting[tp].extend(record for record in records if record.offset < spans[tp][1])
            for tp in tuple(empty):
                if waiting[tp]:
                    heapq.heappush(heads, (waiting[tp][0].timestamp, tp.partition, tp))
                elif await reader.position(tp) < spans[tp][1]:
                    continue
                empty.discard(tp)
        if not heads:
            return
        tp = heads[0][2]
        yield waiting[tp].popleft()
        if waiting[tp]:
            heapq.heapreplace(heads, (waiting[tp][0].timestamp, tp.partition, tp))
        else:
            heapq.heappop(heads)
            empty.add(tp)
