"""``Prefer: wait``: reads every outcome as it is written and tells the requests that wait for one.

The consumer has no group and stands at the end of all ``outcomes`` from the start, so that an outcome which follows
the append at once is not missed. It reads headers; the outcome itself only where somebody waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka import TopicPartition

from linkspan.ingress.accept.standing import Standing
from linkspan.ingress.flows import FlowIntake
from linkspan.kernel.codec import Datum, OutcomeCodec
from linkspan.kernel.errors import Poison
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.topics import Headers

log = structlog.get_logger()

#: Outcomes that end a message; the others are followed by one of these.
FINAL = frozenset({"delivered", "filtered", "superseded", "duplicate", "dead_lettered", "expired", "discarded"})
#: Seconds a request may ask to wait.
LONGEST_WAIT = 60

Outcome = asyncio.Future[Datum | None]


@dataclass(frozen=True, slots=True)
class Expected:
    """The message whose outcome a request waits for; None in the future: it will not be told."""

    message_id: str
    outcome: Outcome


class OutcomeWatch:
    """``status``: the topic in which egress replicas say how they stand."""

    def __init__(
        self, clients: KafkaClients, flows: Iterable[FlowIntake], codec: OutcomeCodec, status: str, standing: Standing
    ) -> None:
        self._clients, self._codec = clients, codec
        self._status, self._standing = TopicPartition(status, 0), standing
        self._partitions = [
            TopicPartition(flow.topics.outcomes, number) for flow in flows for number in range(flow.spec.partitions)
        ]
        self._waiting: dict[str, list[Outcome]] = {}
        self._epochs: dict[TopicPartition, int] = {}
        self.ready = False

    def expect(self, message_id: str) -> Expected:
        """To be called before the append, and followed by ``forget``."""
        outcome: Outcome = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(message_id, []).append(outcome)
        return Expected(message_id, outcome)

    def forget(self, expected: Expected) -> None:
        left = [outcome for outcome in self._waiting.pop(expected.message_id, []) if outcome is not expected.outcome]
        if left:
            self._waiting[expected.message_id] = left

    async def decided(self, expected: Expected, flow: str, seconds: float) -> Datum | None:
        """None where it is not known in time, or while the flow is not delivered anyway."""
        opened = self._standing.expect(flow)
        try:
            both: list[asyncio.Future[Any]] = [expected.outcome, opened]
            await asyncio.wait(both, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._standing.forget(flow, opened)
        return expected.outcome.result() if expected.outcome.done() else None

    def release(self) -> None:
        """Ends all waiting, because the process stops."""
        self.ready = False
        for outcomes in self._waiting.values():
            for outcome in outcomes:
                if not outcome.done():
                    outcome.set_result(None)

    async def run(self) -> None:
        while True:
            try:
                await self._follow()
            except Exception as error:  # noqa: BLE001 - without it requests get 202 and nothing is lost
                log.warning("outcomes cannot be read; trying again", reason=str(error) or type(error).__name__)
            self.ready = False
            await asyncio.sleep(1)

    async def _follow(self) -> None:
        consumer = self._clients.consumer(group_id=None, enable_auto_commit=False, auto_offset_reset="latest")
        try:
            async with asyncio.timeout(15):
                await consumer.start()
                partitions = [*self._partitions, self._status]
                consumer.assign(partitions)
                await consumer.seek_to_end()
                for partition in partitions:
                    await consumer.position(partition)
            self.ready = True
            while True:
                for partition, records in (await consumer.getmany(timeout_ms=500)).items():
                    for record in records:
                        self._read(partition, record)
        finally:
            await consumer.stop()

    def _read(self, partition: TopicPartition, record: Any) -> None:
        if partition == self._status:
            self._standing.read(record.key, record.value)
            return
        headers = dict(record.headers)
        kind = headers.get(Headers.KIND, b"").decode()
        epoch = int(headers.get(Headers.EPOCH) or 0)
        if kind == "owner":
            self._epochs[partition] = epoch
        waiting = self._waiting.get(headers.get(Headers.MESSAGE_ID, b"").decode())
        if not waiting or kind not in FINAL or headers.get(Headers.PLAN) or epoch < self._epochs.get(partition, 0):
            return
        try:
            outcome = self._codec.decode(record.value)
        except Poison as error:
            log.warning("an outcome cannot be read", topic=partition.topic, offset=record.offset, reason=str(error))
            return
        for future in waiting:
            if not future.done():
                future.set_result(outcome)
