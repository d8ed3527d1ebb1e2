"""The archive's commands against a bridge, and a Kafka that forgets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from tests.integration.cli.operator import Done, Operator
from tests.integration.egress.bridge import Bridge
from tests.integration.egress.plans import read

from linkspan.kernel.archive.segment import Segment
from linkspan.kernel.archive.store import ArchiveStore, Place

#: Offsets of each partition.
Ends = dict[int, int]


def folder(made: Bridge) -> Path:
    return made.path.parent / "archive"


def keeper(made: Bridge, **more: str) -> Operator:
    return Operator(made, "127.0.0.1:9", more={"LINKSPAN_ARCHIVE": str(folder(made))} | more)


async def archive(made: Bridge, command: str, *arguments: str, **more: str) -> Done:
    return await keeper(made, **more)("archive", command, str(made.path), *arguments)


async def archived(made: Bridge, *arguments: str) -> Done:
    """Everything, and that is that."""
    done = await archive(made, "run", "--once", *arguments)
    assert done.code == 0, done
    return done


async def listed(made: Bridge) -> dict[tuple[str, int], dict[str, Any]]:
    """By the topic's last word and partition."""
    done = await archive(made, "list", "-o", "json")
    return {(one["topic"].split(".")[-1], one["partition"]): one for one in done.json["partitions"]}


def store(made: Bridge) -> ArchiveStore:
    return ArchiveStore(str(folder(made)), made.integration.integration)


async def segments(made: Bridge, topic: str, partition: int = 0) -> list[Segment]:
    return await store(made).segments(Place(topic, partition))


async def forget(made: Bridge, topic: str, before: Ends | None = None) -> Ends:
    """As retention does; everything there is by default. Where the partitions begin then."""
    if before is None:
        before = {n: one[-1].offset + 1 for n, one in (await read(made, topic, made.partitions)).items() if one}
    wanted = {TopicPartition(topic, number): RecordsToDelete(before_offset=end) for number, end in before.items()}
    admin = AIOKafkaAdminClient(bootstrap_servers=made.bootstrap)
    await admin.start()
    try:
        await admin.delete_records(wanted)
    finally:
        await admin.close()
    return before


async def forget_all(made: Bridge) -> None:
    """Events and outcomes."""
    await forget(made, made.topics.events)
    await forget(made, made.topics.outcomes)
