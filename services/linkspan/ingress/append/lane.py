"""One partition of a flow's events: its records in order, one batch on its way at a time."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

import msgspec
from aiokafka import AIOKafkaProducer

from linkspan.kernel.errors import LinkspanError
from linkspan.kernel.telemetry import metrics
from linkspan.kernel.topics import Headers

#: Seconds that a batch waits for company.
LINGER = 0.001

#: Called once: with None when Kafka has acknowledged, or the spool has it on disk (then True), else with the reason.
Settled = Callable[[LinkspanError | None, bool], None]


class Record(msgspec.Struct, eq=False):
    """``may_spool``: it may wait on this machine's disk; what a source sends never does, nor what comes from there.
    ``spooled``: it does come from there."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]
    timestamp_ms: int
    settled: Settled
    may_spool: bool = False
    spooled: bool = False


class Pending:
    """Bytes of all records without an acknowledgement."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0


class Tick:
    """What waits for company waits together: batches of several partitions then share one request."""

    def __init__(self) -> None:
        self._next: asyncio.Future[None] | None = None

    def next(self) -> asyncio.Future[None]:
        """Done ``LINGER`` after the first who asked for it. Whoever is cancelled in it cancels it for all, as lanes are
        cancelled together."""
        if self._next is None or self._next.done():
            loop = asyncio.get_running_loop()
            self._next = loop.create_future()
            loop.call_later(LINGER, _over, self._next)
        return self._next


def _over(tick: asyncio.Future[None]) -> None:
    if not tick.done():
        tick.set_result(None)


class Lane:
    """``tick``: all lanes of a process have one. ``accepted`` counts what was acknowledged."""

    def __init__(self, flow: str, topic: str, partition: int, pending: Pending, tick: Tick) -> None:
        self._topic, self._partition, self._pending, self._tick = topic, partition, pending, tick
        self._waiting: deque[Record] = deque()
        self._under_way: list[Record] = []
        self._wake = asyncio.Event()
        self._counters = metrics.ACCEPTED.labels(flow), metrics.APPENDED.labels(flow)
        self._bytes = metrics.MESSAGE_BYTES.labels(flow)
        self.accepted = 0
        self._seconds = metrics.STAGE_SECONDS.labels(flow, "append")

    def add(self, record: Record) -> None:
        self._pending.bytes += len(record.value)
        if not self._waiting:
            self._wake.set()
        self._waiting.append(record)

    async def flush(self, producer: AIOKafkaProducer, limit: float) -> None:
        """Runs until a batch fails, or is not acknowledged within ``limit`` seconds: raises, settles nothing."""
        while True:
            await self._wake.wait()
            while self._waiting:
                await self._tick.next()
                await self._append_batch(producer, limit)
            self._wake.clear()

    async def _append_batch(self, producer: AIOKafkaProducer, limit: float) -> None:
        started = time.perf_counter()
        batch = producer.create_batch()
        waiting, under_way = self._waiting, self._under_way
        while waiting:
            head = waiting[0]
            if not batch.append(timestamp=head.timestamp_ms, key=head.key, value=head.value, headers=head.headers):
                break
            under_way.append(waiting.popleft())
        batch.close()
        async with asyncio.timeout(limit):
            acknowledged = await producer.send_batch(batch, self._topic, partition=self._partition)
            await acknowledged
        self._count(under_way, time.perf_counter() - started)
        self._under_way = []
        for record in under_way:
            self._pending.bytes -= len(record.value)
            record.settled(None, False)

    def _count(self, appended: list[Record], took: float) -> None:
        """Of one batch; ``took``: seconds."""
        accepted, in_kafka = self._counters
        accepted.inc(sum(not record.spooled for record in appended))
        in_kafka.inc(len(appended))
        self.accepted += len(appended)
        self._seconds.note(took)
        self._bytes.observe_all([len(record.value) for record in appended])
        traced = next((value.decode() for name, value in appended[0].headers if name == Headers.TRACEPARENT), None)
        self._seconds.example(took, traced)

    def give_back(self) -> list[Record]:
        """All that is not acknowledged, in order; the lane is empty then."""
        records = [*self._under_way, *self._waiting]
        self._under_way = []
        self._waiting.clear()
        self._wake.clear()
        for record in records:
            self._pending.bytes -= len(record.value)
        return records
