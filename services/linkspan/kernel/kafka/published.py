"""The schemas with which all versions of Linkspan write, so that an older one can read what a newer one wrote.

Whoever writes publishes its schemas before its first record, in ``<integration>.schemas``: compacted, one partition;
the key is the fingerprint in hex, the value the schema without its ``doc`` texts. The form of this topic never changes,
so that every version can read it. docs/decisions/0024
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any, Protocol

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError
from fastavro import parse_schema

from linkspan.kernel.kafka.clients import KafkaClients, stop_consumer, stop_producer
from linkspan.kernel.kafka.reading import read_all
from linkspan.kernel.schemas import COMMON, Schema, SchemaCatalog, schema_fingerprint
from linkspan.kernel.topics import schemas_topic

log = structlog.get_logger()

#: Kafka has so long for all of it, seconds.
_LIMIT = 30.0
_AGAIN = 2.0
#: What no version had published is not asked for again for so long, seconds.
_NOT_THERE = 5.0
#: Fingerprints that are remembered as published by nobody: of damaged bytes there may be any number.
_REMEMBERED = 1_000


class Reads(Protocol):
    """A codec."""

    def unknown(self, value: bytes | None) -> bytes | None: ...


def own_schemas(catalog: SchemaCatalog, integration: str, types: Iterable[str] = ()) -> list[Schema]:
    """What this version writes with: the newest of each common record, and of the events of ``types``."""
    common = [catalog.latest(folder, name).definition for folder, name in catalog.parts() if folder == COMMON]
    return common + [catalog.events(integration, name)[-1].definition for name in sorted(set(types))]


class PublishedSchemas:
    """Of one process. ``types``: of the events that it writes."""

    def __init__(
        self, clients: KafkaClients, integration: str, catalog: SchemaCatalog, types: Iterable[str] = ()
    ) -> None:
        self._clients, self._catalog = clients, catalog
        self._of = integration, tuple(types)
        self._partition = TopicPartition(schemas_topic(integration), 0)
        self._one = asyncio.Lock()
        self._next = 0
        self._known: set[bytes] = set()
        self._absent: dict[bytes, float] = {}
        self._ready = False

    async def ready(self) -> None:
        """Returns when every version can read what this process writes. Raises KafkaError, TimeoutError; where the
        topic is missing UnknownTopicOrPartitionError, which says what to do."""
        if self._ready:
            return
        async with self._one, asyncio.timeout(_LIMIT):
            if not self._ready:
                await self._publish()
                self._ready = True

    async def learn(self, codec: Reads, *values: bytes | None) -> None:
        """``codec`` reads these from now on, as far as somebody has published what wrote them. Raises as ``ready``."""
        wanted = {found for value in values if (found := codec.unknown(value)) is not None}
        if not self._to_ask(wanted):
            return
        async with self._one, asyncio.timeout(_LIMIT):
            if self._to_ask(wanted):
                await self._read()
                self._note_absent(wanted)

    async def refresh(self) -> None:
        """All that is published by now is known. Raises as ``ready``."""
        async with self._one, asyncio.timeout(_LIMIT):
            await self._read()

    async def run(self) -> None:
        """What is published from now on is known at once to whoever does not ask. Until cancelled."""
        while True:
            reader = self._clients.reader()
            try:
                await reader.start()
                await self._is_there(reader)
                await self._follow(reader)
            except (KafkaError, OSError, TimeoutError) as error:
                log.debug("the schemas topic cannot be read", error=repr(error))
            finally:
                await stop_consumer(reader)
            await asyncio.sleep(_AGAIN)

    async def _follow(self, reader: AIOKafkaConsumer) -> None:
        reader.assign([self._partition])
        reader.seek(self._partition, self._next)
        while True:
            for record in (await reader.getmany(self._partition, timeout_ms=1_000)).get(self._partition, ()):
                self._take(record)

    def _to_ask(self, wanted: set[bytes]) -> set[bytes]:
        now = asyncio.get_running_loop().time()
        return {one for one in wanted - self._known if now >= self._absent.get(one, 0.0)}

    def _note_absent(self, wanted: set[bytes]) -> None:
        again = asyncio.get_running_loop().time() + _NOT_THERE
        if len(self._absent) > _REMEMBERED:
            self._absent.clear()
        for one in wanted - self._known:
            self._absent[one] = again
            log.warning("records of a schema that nobody has published", fingerprint=one.hex())

    async def _publish(self) -> None:
        await self._read()
        integration, types = self._of
        own = {schema_fingerprint(one): one for one in own_schemas(self._catalog, integration, types)}
        missing = [(key, schema) for key, schema in own.items() if key not in self._known]
        if not missing:
            return
        producer = self._clients.producer()
        try:
            await producer.start()
            topic, number = self._partition
            sent = [
                await producer.send(topic, schema_text(schema), key.hex().encode(), number) for key, schema in missing
            ]
            await asyncio.gather(*sent)
        finally:
            await stop_producer(producer)
        self._known |= {key for key, _ in missing}
        log.info("schemas published", count=len(missing))

    async def _read(self) -> None:
        reader = self._clients.reader()
        try:
            await reader.start()
            await self._is_there(reader)
            self._next = await read_all(reader, self._partition, self._next, None, self._take)
        finally:
            await stop_consumer(reader)

    async def _is_there(self, reader: AIOKafkaConsumer) -> None:
        topic = self._partition.topic
        if topic not in await reader.topics():
            raise UnknownTopicOrPartitionError(f"Kafka has no topic {topic}; linkspan topics FILE makes it")

    def _take(self, record: Any) -> None:
        found = published_schema(record)
        if found is None:
            log.warning("not a published schema", topic=self._partition.topic, offset=record.offset)
            return
        fingerprint, schema = found
        self._known.add(fingerprint)
        self._absent.pop(fingerprint, None)
        self._catalog.foreign.setdefault(fingerprint, schema)


def schema_text(schema: Schema) -> bytes:
    """The value of its record: all that it means."""
    return json.dumps(_without_docs(schema), separators=(",", ":")).encode()


def _without_docs(node: Any) -> Any:
    if isinstance(node, dict):
        return {name: _without_docs(value) for name, value in node.items() if name != "doc"}
    return [_without_docs(item) for item in node] if isinstance(node, list) else node


def published_schema(record: Any) -> tuple[bytes, Schema] | None:
    """Its fingerprint and the schema; None where the record is none: what it says of itself is not believed."""
    try:
        schema = json.loads(record.value or b"")
        parse_schema(schema, _force=True)
        fingerprint = schema_fingerprint(schema)
    except Exception:  # noqa: BLE001 - fastavro raises many kinds
        return None
    return (fingerprint, schema) if record.key == fingerprint.hex().encode() else None
