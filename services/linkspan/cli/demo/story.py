"""What happened to each plan, read from where it is kept: the Kafka topics and the plan manager."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from linkspan.kernel.codec import OutcomeCodec
from linkspan.kernel.spec import Integration
from linkspan.kernel.topics import FlowTopics, Headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: The hops of a plan in order: what is shown, and the flow and the topic where it is read.
HOPS = (
    ("kept in Kafka", "plan-uploaded", "events"),
    ("read and delivered to the analysis", "plan-uploaded", "outcomes"),
    ("analysis back in Kafka", "analysis-complete", "events"),
    ("delivered to the plan manager", "analysis-complete", "outcomes"),
)


@dataclass(slots=True)
class Story:
    """One plan; ``hops``: seconds since 1970 by the hop's place in HOPS. ``reason`` once it became a dead letter."""

    name: str
    plan_id: str
    correlation_id: str
    uploaded: float
    hops: dict[int, float] = field(default_factory=dict)
    reason: str | None = None
    plan: dict[str, Any] | None = None

    @property
    def finished(self) -> bool:
        """Its end is on the plan's page, and the outcome of the last hop was read."""
        state = self.plan["state"] if self.plan else None
        return state == "refused" or (state == "analysed" and len(HOPS) - 1 in self.hops)


class Tail:
    """Reads what is new in the topics of the two flows."""

    def __init__(self, consumer: AIOKafkaConsumer, codec: OutcomeCodec, topics: dict[str, int]) -> None:
        self._consumer, self._codec, self._topics = consumer, codec, topics

    async def follow(self, stories: Iterable[Story]) -> None:
        """Takes half a second's records into the stories."""
        known = {story.correlation_id: story for story in stories}
        for records in (await self._consumer.getmany(timeout_ms=500)).values():
            for record in records:
                story = known.get(_header(record, Headers.CORRELATION_ID))
                if story:
                    self._take(story, record)

    def _take(self, story: Story, record: ConsumerRecord) -> None:
        hop = self._topics[record.topic]
        if HOPS[hop][2] == "events":
            story.hops.setdefault(hop, int(_header(record, Headers.ACCEPTED_AT)) / 1e6)
            return
        outcome = self._codec.decode(record.value)
        if outcome["kind"] == "delivered":
            story.hops.setdefault(hop, outcome["at"] / 1e6)
        elif outcome["kind"] == "dead_lettered":
            story.reason = outcome["reason"]


@asynccontextmanager
async def tail(bootstrap: str, spec: Integration, codec: OutcomeCodec) -> AsyncIterator[Tail]:
    """Begins at the end of the topics as they are now."""
    topics = {getattr(FlowTopics.of(spec.integration, flow), kind): hop for hop, (_, flow, kind) in enumerate(HOPS)}
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(
            [
                TopicPartition(topic, partition)
                for topic, hop in topics.items()
                for partition in range(spec.flows[HOPS[hop][1]].partitions)
            ]
        )
        await consumer.seek_to_end()
        yield Tail(consumer, codec, topics)
    finally:
        await consumer.stop()


def _header(record: ConsumerRecord, name: str) -> str:
    return next((value.decode() for key, value in record.headers if key == name), "")
