"""Appends events with one idempotent producer, in batches, and says when Kafka has them.

A record is acknowledged (acks=all), or it *failed*, and then so did everything else that was unacknowledged: after a
failed append the producer is discarded and a new one begins, because what follows a gap in an idempotent producer's
sequence is refused for ever, and because a later batch must not overtake an earlier one.

Where a flow spools, all that was unacknowledged is spooled in order instead. Later messages are refused for a grace, in
which a load balancer may notice, then spooled too. While the spool holds messages of a flow, whatever comes for it goes
through the spool.

A failed record may still be in Kafka: its acknowledgement may have been lost. The sender, who was told to come again,
does so with the same message id, and the owner of the partition finds the second record a duplicate.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

import structlog
from aiokafka import AIOKafkaProducer

from linkspan.ingress.append.drain import Drain
from linkspan.ingress.append.lane import Lane, Pending, Record, Tick
from linkspan.ingress.append.producer import discard, start_producer
from linkspan.ingress.append.spool import Spool
from linkspan.ingress.errors import NotNow
from linkspan.ingress.flows import FlowIntake
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.topics import partition_of

log = structlog.get_logger()

#: Seconds between two questions whether Kafka still answers, and how long it has for it.
PROBE_EVERY, PROBE_LIMIT = 2.0, 3.0
#: Seconds until the next attempt to connect, and how long one may take, at most, for each of its steps.
CONNECT_AGAIN, CONNECT_LIMIT = 1.0, 10.0
#: Seconds between two looks whether all is drained, at the end.
LOOK_EVERY = 0.02
#: Bytes of all records without an acknowledgement, at most.
PENDING_BYTES = 64 * 1024 * 1024


class Appender:
    """``limit``: seconds for an acknowledgement. ``prepare`` runs whenever Kafka was reached, before the first append:
    it makes the topics. ``spool`` is needed where a flow spools; ``grace``: seconds without Kafka before it is used."""

    def __init__(
        self,
        clients: KafkaClients,
        flows: Iterable[FlowIntake],
        limit: float,
        prepare: Callable[[], Awaitable[None]],
        spool: Spool | None = None,
        grace: float = 10.0,
    ) -> None:
        self._clients, self._limit, self._prepare = clients, limit, prepare
        self._pending = Pending()
        self._lanes: dict[str, list[Lane]] = {}
        tick = Tick()
        self._spools: set[str] = set()
        for flow in flows:
            partitions = range(flow.spec.partitions)
            self._lanes[flow.name] = [Lane(flow.name, flow.topics.events, n, self._pending, tick) for n in partitions]
            if spool and flow.spec.when_kafka_is_away == "spool":
                self._spools.add(flow.name)
        self._spool, self._grace = spool, grace
        self._drain = Drain(spool, self._put) if spool else None
        self._serving = False
        self._away_since = time.monotonic()
        self.connected = asyncio.Event()  # set exactly while trouble is None
        self.trouble: str | None = "not connected to Kafka yet"

    def append(self, flow: str, partition: int, record: Record) -> None:
        """Raises NotNow at once where neither Kafka nor the spool can take it now."""
        if self.trouble is not None:
            self._append_without_kafka(flow, record)
        elif self._spool and self._drain and (self._spool.holds(flow) or self._drain.holds(flow)):
            self._append_behind(flow, record, self._spool, self._drain)
        else:
            self._check_pending(record)
            self._lanes[flow][partition].add(record)

    def accepted(self, flow: str) -> int:
        """Messages of the flow that Kafka acknowledged since the start."""
        return sum(lane.accepted for lane in self._lanes[flow])

    def _check_pending(self, record: Record) -> None:
        held = self._drain.held_bytes if self._drain else 0
        if self._pending.bytes + held + len(record.value) > PENDING_BYTES:
            raise NotNow("Kafka does not keep up with what is sent", retry_after=1)

    def _append_without_kafka(self, flow: str, record: Record) -> None:
        """While a producer lives it may still acknowledge earlier records: these would come after."""
        if flow not in self._spools or not record.may_spool or self._serving or not self._grace_is_over():
            raise NotNow(f"Kafka cannot take messages: {self.trouble}")
        assert self._spool  # noqa: S101 - a flow spools only with one
        self._spool.add(flow, record)

    def _append_behind(self, flow: str, record: Record, spool: Spool, drain: Drain) -> None:
        if drain.handing_over:
            self._check_pending(record)
            drain.hold(flow, record)
        elif record.may_spool:
            spool.add(flow, record)
        else:
            raise NotNow("earlier messages of the flow are still in the spool")

    def _put(self, flow: str, record: Record) -> None:
        lanes = self._lanes[flow]
        lanes[partition_of(record.key, len(lanes))].add(record)

    def _grace_is_over(self) -> bool:
        return time.monotonic() - self._away_since >= self._grace

    async def run(self) -> None:
        """Connects, and connects again, until cancelled."""
        while True:
            try:
                producer = await self._connect()
                await self._serve(producer)
            except Exception as error:  # noqa: BLE001 - whatever Kafka and its client come up with is an outage
                self._lost(str(error) or type(error).__name__)
            await asyncio.sleep(CONNECT_AGAIN)

    async def _connect(self) -> AIOKafkaProducer:
        limit = min(self._limit, CONNECT_LIMIT)
        async with asyncio.timeout(3 * limit):
            await self._prepare()
        return await start_producer(self._clients, limit, self._limit)

    async def _serve(self, producer: AIOKafkaProducer) -> None:
        """Until anything fails; then everything unacknowledged is spooled, or has failed."""
        lanes = [lane for lanes in self._lanes.values() for lane in lanes]
        self._serving = True
        tasks = [asyncio.create_task(lane.flush(producer, self._limit)) for lane in lanes]
        tasks.append(asyncio.create_task(self._watch(producer)))
        if self._drain:
            tasks.append(asyncio.create_task(self._drain.run()))
        log.info("connected to Kafka", was=self.trouble)
        self._found()
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()
        except TimeoutError:
            raise NotNow(f"no acknowledgement within {self._limit:g} s") from None
        finally:
            self._lost(self.trouble or "an append failed")
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._rescue()
            self._serving = False
            await discard(producer)

    def _rescue(self) -> None:
        """Settles or spools all that is not acknowledged: of a key in order, and before anything later."""
        for flow, lanes in self._lanes.items():
            for lane in lanes:
                for record in lane.give_back():
                    self._keep(flow, record)
        for flow, record in self._drain.give_back() if self._drain else ():
            self._keep(flow, record)

    def _keep(self, flow: str, record: Record) -> None:
        failure = NotNow("Kafka has not acknowledged the message; send it again with the same id")
        if self._spool and flow in self._spools and record.may_spool:
            try:
                self._spool.add(flow, record)
            except NotNow as full:
                failure = full
            else:
                return
        record.settled(failure, False)

    async def _watch(self, producer: AIOKafkaProducer) -> None:
        """Refuses while Kafka does not answer; ends with an error once nothing waits for it, or it is to be spooled."""
        while True:
            await asyncio.sleep(PROBE_EVERY)
            try:
                async with asyncio.timeout(PROBE_LIMIT):
                    answers = await producer.client.force_metadata_update()
            except TimeoutError:
                answers = False
            if answers:
                self._found()
                continue
            self._lost("it does not answer")
            if not self._pending.bytes or (self._spools and self._grace_is_over()):
                raise NotNow("it does not answer")

    def _found(self) -> None:
        self.trouble = None
        self.connected.set()

    def _lost(self, reason: str) -> None:
        if self.trouble is None:
            self._away_since = time.monotonic()
        if self.trouble != reason:
            log.warning("Kafka is away: messages are refused, or spooled after a grace", reason=reason)
        self.trouble = reason
        self.connected.clear()

    async def close(self) -> None:
        """After ``run``: what Kafka has goes from the spool; what it does not have is written, and stays."""
        if self._spool and self._drain:
            await self._drain.close()
            await self._spool.close()

    async def drained(self, limit: float) -> None:
        """Waits until nothing is unacknowledged or, with Kafka there, spooled; ``limit`` seconds at most."""
        deadline = time.monotonic() + limit
        while self._is_busy() and time.monotonic() < deadline:  # noqa: ASYNC110 - once, at the end
            await asyncio.sleep(LOOK_EVERY)

    def _is_busy(self) -> bool:
        if self._pending.bytes:
            return True
        return self.trouble is None and self._spool is not None and self._spool.messages > 0
