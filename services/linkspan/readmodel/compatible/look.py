"""Looks at a live Kafka; changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from linkspan.kernel.errors import KafkaAway
from linkspan.kernel.kafka.clients import KafkaClients, stop_consumer
from linkspan.kernel.kafka.published import published_schema
from linkspan.kernel.kafka.reading import read_all
from linkspan.kernel.records.copied import CopyMark
from linkspan.kernel.records.state import StateCodec
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.spec import Integration
from linkspan.kernel.topics import FlowTopics, all_topics, schemas_topic
from linkspan.readmodel.compatible.finding import Finding
from linkspan.readmodel.compatible.records import Records, once_each
from linkspan.readmodel.compatible.schemas import published, released
from linkspan.readmodel.copies import mark_of, unfinished_copies
from linkspan.readmodel.standing import positions

#: Offsets of each partition that are looked at, the newest.
_NEWEST = 20
_FETCH_MS = 500
_START = 10.0


async def findings(
    clients: KafkaClients, integration: Integration, catalog: SchemaCatalog, folders: Iterable[Path]
) -> list[Finding]:
    """What stops an upgrade first. ``folders``: of schema files with a lock. Raises KafkaAway."""
    found = list(released(catalog, folders))
    reader = clients.reader()
    try:
        async with asyncio.timeout(_START):
            await reader.start()
        found += await _Look(clients, reader, integration, catalog).found()
    except (KafkaError, TimeoutError, OSError) as error:
        said = "" if isinstance(error, TimeoutError) else f" ({error})"
        raise KafkaAway(f"Kafka does not answer{said}; is it running, and is MESSAGE_QUEUE_URL right?") from error
    finally:
        await stop_consumer(reader)
    return sorted(found, key=lambda one: not one.stops)


class _Look:
    def __init__(
        self, clients: KafkaClients, reader: AIOKafkaConsumer, integration: Integration, catalog: SchemaCatalog
    ) -> None:
        self._clients, self._reader, self._integration, self._catalog = clients, reader, integration, catalog
        self._there: dict[str, int] = {}

    async def found(self) -> list[Finding]:
        there = self._there = await self._described()
        foreign = await self._published(there)
        self._catalog.foreign.update(foreign)
        found = [*self._topics(there), *published(self._catalog, self._integration, foreign)]
        records = Records(self._catalog, self._integration)
        judged: list[Finding | None] = []
        for topic in records.codecs:
            if topic in there:
                judged += [records.judged(topic, one) for one in await self._newest(topic)]
        return [*found, *once_each(iter(judged)), *await self._left(there)]

    async def _described(self) -> dict[str, int]:
        """Partitions of each topic."""
        admin = self._clients.admin()
        try:
            await admin.start()
            topics = await admin.describe_topics()
        finally:
            await admin.close()
        return {one["topic"]: len(one["partitions"]) for one in topics if one["error_code"] == 0}

    async def _published(self, there: dict[str, int]) -> dict[bytes, Any]:
        topic, found = schemas_topic(self._integration.integration), list[Any]()
        if topic in there:
            await read_all(self._reader, TopicPartition(topic, 0), 0, None, found.append)
        return dict(one for one in map(published_schema, found) if one is not None)

    def _topics(self, there: dict[str, int]) -> Iterator[Finding]:
        for spec in all_topics(self._integration):
            if spec.name not in there:
                yield Finding(spec.name, "is missing; linkspan topics makes it", stops=False)
                continue
            if there[spec.name] != spec.partitions:
                what = f"has {there[spec.name]} partitions, and the file says {spec.partitions}: keys would move"
                yield Finding(spec.name, f"{what}, and order be lost")

    async def _newest(self, topic: str) -> list[Any]:
        """Of each partition what stands at its last offsets; markers of transactions take some of them."""
        partitions, found = [TopicPartition(topic, number) for number in range(self._there[topic])], list[Any]()
        self._reader.assign(partitions)
        ends = await self._reader.end_offsets(partitions)
        starts = await self._reader.beginning_offsets(partitions)
        for tp in partitions:
            self._reader.seek(tp, max(starts[tp], ends[tp] - _NEWEST))
        for tp in partitions:
            while await self._reader.position(tp) < ends[tp]:
                found += (await self._reader.getmany(tp, timeout_ms=_FETCH_MS)).get(tp, ())
        return found

    async def _left(self, there: dict[str, int]) -> list[Finding]:
        """Flows that the file has no more, and Kafka has."""
        name, found = self._integration.integration, list[Finding]()
        missing = [one async for one in unfinished_copies(self._clients, self._integration, self._catalog)]
        for flow, source in missing:
            what = f"does not have all of {source} yet: linkspan repartition {flow} FILE"
            found.append(Finding(f"flows.{flow}.copied_from", what))
        copied = {flow.copied_from for flow in self._integration.flows.values()}
        for flow in sorted(_flows_of(name, there) - self._integration.flows.keys() - copied):
            mark = await self._mark(name, flow)
            if mark is not None and mark.done and mark.source == flow:
                found.append(Finding(f"flows.{flow}", f"was copied to {mark.target}", stops=False))
                continue
            left = await self._unfinished(name, flow)
            what = f"the file has this flow no more, and {left} of its offsets are not finished: deliver them first"
            gone = "the file has this flow no more; all of it is finished"
            found.append(Finding(f"flows.{flow}", what if left else gone, stops=left > 0))
        return found

    async def _mark(self, integration: str, flow: str) -> CopyMark | None:
        state = FlowTopics.of(integration, flow).state
        return await mark_of(self._reader, state, StateCodec(self._catalog)) if state in self._there else None

    async def _unfinished(self, integration: str, flow: str) -> int:
        topics = FlowTopics.of(integration, flow)
        numbers = range(self._there[topics.events])
        events = [TopicPartition(topics.events, number) for number in numbers]
        starts, ends = await self._reader.beginning_offsets(events), await self._reader.end_offsets(events)
        stand = await positions(self._clients, integration, flow, numbers)
        return sum(max(0, ends[tp] - max(starts[tp], stand[tp.partition] or 0)) for tp in events)


def _flows_of(integration: str, topics: Iterable[str]) -> set[str]:
    found = [topic.split(".") for topic in topics]
    return {parts[1] for parts in found if len(parts) == 3 and (parts[0], parts[2]) == (integration, "events")}
