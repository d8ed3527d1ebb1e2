"""One assignment of a flow's member: group commits, and the lease that they give."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from linkspan.kernel.errors import LinkspanError
from linkspan.kernel.kafka.timing import Timing


class CommitRefused(LinkspanError):
    """Kafka took no commit: this member may not own what it thinks it owns."""


class Membership:
    """From an assignment to the revocation that ends it; what was committed by the next one says nothing about this.

    The group's offset is for lag tools only and never read. What counts is that the commit *succeeded*: the member
    was still one when Kafka took it, so nobody else may begin before its session has passed.
    """

    def __init__(self, consumer: AIOKafkaConsumer, topic: str, timing: Timing) -> None:
        self._consumer, self._topic, self._timing = consumer, topic, timing
        self._sent_at = float("-inf")
        self.ended = False

    def may_attempt(self, now: float) -> bool:
        """``now``: the event loop's time, which goes on while the process is stopped."""
        return not self.ended and now < self._sent_at + self._timing.lease

    async def commit(self, offsets: dict[int, int], limit: float) -> None:
        """``offsets`` by partition; raises CommitRefused, also when nothing was heard for ``limit`` seconds."""
        sent_at = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(limit):
                await self._consumer.commit({TopicPartition(self._topic, number): at for number, at in offsets.items()})
        except (KafkaError, TimeoutError) as error:
            raise CommitRefused(f"no commit to the group: {error!r}") from error
        if self.ended:
            raise CommitRefused("the assignment ended meanwhile")
        self._sent_at = max(self._sent_at, sent_at)

    async def ask(self, limit: float) -> None:
        """Whether Kafka answers, for a member that has nothing to commit; raises CommitRefused."""
        partition = TopicPartition(self._topic, 0)
        try:
            async with asyncio.timeout(limit):
                await self._consumer.end_offsets([partition])
        except (KafkaError, TimeoutError) as error:
            raise CommitRefused(f"Kafka does not answer: {error!r}") from error
