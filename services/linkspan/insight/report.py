"""Says every second how the flows were in their last minutes, in ``<integration>.status``."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from linkspan.insight.conversations import ANSWERED, LATE, OVERDUE, WAITING
from linkspan.insight.pipeline import Pipeline
from linkspan.insight.plan import Plan
from linkspan.insight.watch import Watch
from linkspan.kernel.codec import Datum, RecordCodec
from linkspan.kernel.kafka.clients import KafkaClients, started_producer, stop_producer
from linkspan.kernel.message import now_micros
from linkspan.kernel.telemetry import metrics
from linkspan.kernel.topics import FlowTopics, status_topic
from linkspan.readmodel.windows import window_key

log = structlog.get_logger()

_EVERY = 1.0
_LIMIT = 3.0


class Reporter:
    """``run`` until cancelled, ``close`` then: a worker that ends in order takes its records back."""

    def __init__(
        self, worker: str, clients: KafkaClients, plan: Plan, codec: RecordCodec, pipeline: Pipeline, watch: Watch
    ) -> None:
        self._worker, self._clients, self._plan, self._codec = worker, clients, plan, codec
        self._pipeline, self._watch = pipeline, watch
        self._topic = status_topic(plan.integration)
        self._producer: AIOKafkaProducer | None = None

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            at = loop.time()
            try:
                self._measure()
                for flow in self._plan.flows:
                    await self._write(flow, self._codec.encode(self.status(flow)))
            except (KafkaError, OSError, TimeoutError) as error:
                log.debug("windows not told", error=repr(error))
            except Exception:
                log.exception("windows not told")
            await asyncio.sleep(max(0.1, at + _EVERY - loop.time()))

    def status(self, flow: str) -> Datum:
        counting, now = self._pipeline.counting, now_micros()
        partitions = counting.partitions(flow)
        return {
            "flow": flow,
            "worker": self._worker,
            "at": now,
            "partitions": partitions,
            "behind": self._behind(flow, partitions),
            "windows": [window.record() for window in counting.windows(flow, now)],
        }

    def _behind(self, flow: str, partitions: list[int]) -> int:
        topics = FlowTopics.of(self._plan.integration, flow)
        return sum(
            behind
            for tp, behind in self._watch.behind.items()
            if tp.topic in (topics.events, topics.outcomes) and tp.partition in partitions
        )

    def _measure(self) -> None:
        counting, talks = self._pipeline.counting, self._pipeline.talks
        metrics.INSIGHT_BEHIND.set(sum(self._behind(flow, counting.partitions(flow)) for flow in self._plan.flows))
        for flow in self._plan.within if talks is not None else ():
            for state in (WAITING, OVERDUE, ANSWERED, LATE):
                metrics.CONVERSATIONS.labels(flow, state).set(talks.counts[flow, state] if talks else 0)

    async def _write(self, flow: str, value: bytes | None) -> None:
        if self._producer is None:
            self._producer = await started_producer(self._clients.teller())
        async with asyncio.timeout(_LIMIT):
            await self._producer.send_and_wait(self._topic, value, window_key(flow, self._worker), partition=0)

    async def close(self) -> None:
        if self._producer is not None:
            with suppress(KafkaError, OSError, TimeoutError):
                for flow in self._plan.flows:
                    await self._write(flow, None)
            await stop_producer(self._producer)
