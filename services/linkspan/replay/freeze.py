"""The frozen list: written to the flow's ``replays`` in chunks, and read back from there."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterable
from itertools import islice

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from linkspan.kernel.errors import Poison
from linkspan.kernel.kafka.clients import KafkaClients, stop_producer
from linkspan.kernel.records.plan import PlanCodec, Planned, PlanPart, chunk_key, packed
from linkspan.kernel.topics import FlowTopics
from linkspan.replay.frozen import NotAsFrozen, entries_of, planned
from linkspan.replay.scan import Part
from linkspan.replay.wire import OldList

#: An entry takes 18 bytes at most, 7 or so in practice: a chunk stays below 512 KB.
CHUNK = 25_000
_LIMIT = 10.0


class Freezer:
    """``start``, ``part`` for each partition, ``close``; ``undo`` where the plan is not to be."""

    def __init__(self, clients: KafkaClients, topics: FlowTopics, codec: PlanCodec, plan: str) -> None:
        self._topic, self._codec, self._plan = topics.replays, codec, plan
        self._producer: AIOKafkaProducer = clients.producer(request_timeout_ms=int(_LIMIT * 1000))
        self._written: list[tuple[int, bytes]] = []

    async def start(self) -> None:
        await self._producer.start()

    async def part(self, part: Part, entries: Iterable[Planned]) -> PlanPart:
        """``entries`` in the order of their offsets. Raises KafkaError."""
        digest, stood, left, before, chunk = hashlib.sha256(), Counter[int](), iter(entries), 0, 0
        partition, start = part.partition, 0
        while some := list(islice(left, CHUNK)):
            body = packed(some, before)
            digest.update(body)
            stood.update(entry.code for entry in some)
            key = chunk_key(self._plan, chunk)
            self._written.append((partition, key))
            value = self._codec.encode_chunk(self._plan, chunk, len(some), body)
            appended = await self._producer.send_and_wait(self._topic, value, key, partition)
            start = start if chunk else appended.offset
            before, chunk = some[-1].offset, chunk + 1
        counts = dict(sorted(stood.items()))
        return PlanPart(partition, chunk, digest.digest(), part.end, part.outcomes, counts, part.epoch, start)

    async def undo(self) -> None:
        """Deletes what was written, as far as Kafka answers; without a head it means nothing anyway."""
        await self._delete(self._written)

    async def forget(self, lists: Iterable[OldList]) -> None:
        """Deletes them, as far as Kafka answers; the next plan does it again."""
        places = [(part, chunk_key(one.plan, at)) for one in lists for part, n in one.chunks.items() for at in range(n)]
        await self._delete(places)

    async def _delete(self, places: Iterable[tuple[int, bytes]]) -> None:
        try:
            async with asyncio.timeout(_LIMIT / 4):
                for partition, key in places:
                    await self._producer.send(self._topic, None, key, partition)
                await self._producer.flush()
        except (KafkaError, OSError, TimeoutError):
            return

    async def close(self) -> None:
        await stop_producer(self._producer)


def digest_of(parts: Iterable[PlanPart]) -> bytes:
    """Of a whole plan."""
    return hashlib.sha256(b"".join(part.sha256 for part in parts)).digest()


async def listed(
    reader: AIOKafkaConsumer, topics: FlowTopics, codec: PlanCodec, plan: str, part: PlanPart
) -> list[Planned]:
    """The list of one partition as it was frozen. Raises NotAsFrozen, KafkaError."""
    try:
        replays = TopicPartition(topics.replays, part.partition)
        return list(planned(await entries_of(reader, replays, plan, part, codec)))
    except Poison as error:
        raise NotAsFrozen(f"the list of partition {part.partition}: {error.reason}") from error
