"""The frozen list of a plan, as it stands in the ``replays`` topic of its flow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from linkspan.kernel.errors import LinkspanError, Poison
from linkspan.kernel.kafka.reading import read_all
from linkspan.kernel.records.plan import PlanCodec, Planned, PlanPart, unpacked


class NotAsFrozen(LinkspanError):
    """What stands in the topic is not what was frozen."""


async def entries_of(
    reader: AIOKafkaConsumer, replays: TopicPartition, plan: str, part: PlanPart, codec: PlanCodec
) -> list[bytes]:
    """Of each chunk in turn, packed. Raises NotAsFrozen where one is missing or the digest differs; KafkaError."""
    prefix, found = f"{plan}/".encode(), dict[int, bytes]()

    def take(record: Any) -> None:
        if record.key is None or not record.key.startswith(prefix):
            return
        number = record.key[len(prefix) :]
        if not number.isdigit():
            return
        found.pop(int(number), None)
        if record.value is not None:
            found[int(number)] = _entries(codec, record.value)

    await read_all(reader, replays, part.start, None, take)
    missing = [number for number in range(part.chunks) if number not in found]
    if missing:
        text = f"{len(missing)} of {part.chunks} chunks of the list is missing"
        raise NotAsFrozen(f"partition {part.partition}: {text}")
    entries = [found[number] for number in range(part.chunks)]
    if sha256(b"".join(entries)).digest() != part.sha256:
        raise NotAsFrozen(f"the list of partition {part.partition} has another digest than the one that was frozen")
    return entries


def planned(chunks: Sequence[bytes]) -> Iterator[Planned]:
    """Raises Poison."""
    before = 0
    for entries in chunks:
        for one in unpacked(entries, before):
            before = one.offset
            yield one


def _entries(codec: PlanCodec, value: bytes) -> bytes:
    """Empty where it is no chunk: the digest then says so."""
    try:
        return codec.decode_chunk(value)[3]
    except Poison:
        return b""
