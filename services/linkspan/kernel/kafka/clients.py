"""How egress talks to Kafka: one place for the settings of its consumers and producers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError

from linkspan.kernel.archive.reader import ArchivedReader
from linkspan.kernel.archive.store import ArchiveAt
from linkspan.kernel.kafka.renewing import renew
from linkspan.kernel.kafka.security import OPEN, Security
from linkspan.kernel.kafka.timing import Timing
from linkspan.kernel.topics import MAX_RECORD_BYTES

log = structlog.get_logger()

_POLL_INTERVAL_MS = 7 * 24 * 3600 * 1000
_RECORD_BYTES = MAX_RECORD_BYTES + 128 * 1024
_FETCH_BYTES = 2 * _RECORD_BYTES
#: Of a partition, fetched before the window has room for it; Kafka gives a larger record nevertheless. It is kept in
#: memory for as long as the destination is away.
_AHEAD_BYTES = 256 * 1024
_TRANSACTION_MS = 15_000
#: The cluster's id is believed for so many seconds.
_CLUSTER_ANEW = 5.0

_discarding: set[asyncio.Task[None]] = set()


R = TypeVar("R", bound="AIOKafkaConsumer | ArchivedReader")


class KafkaClients:
    """``servers`` is ``host:port,…``; nothing connects before its ``start``. ``archive``: of what Kafka has no more."""

    def __init__(
        self, servers: str, security: Security = OPEN, *, timing: Timing | None = None, name: str = "linkspan-egress"
    ) -> None:
        self.servers, self.security, self._name = servers, security, name
        self.timing = timing or Timing()
        self.archive: ArchiveAt | None = None
        security.options()  # what is wrong with a certificate is said now
        self._cluster: tuple[float, str] = float("-inf"), ""
        self._asking = asyncio.Lock()

    @property
    def _common(self) -> dict[str, Any]:
        return {"bootstrap_servers": self.servers, "client_id": self._name, **self.security.options()}

    async def cluster(self) -> str:
        """Id of the Kafka cluster, asked again every few seconds: another may answer at the same address. Raises
        KafkaError."""
        async with self._asking:
            now = asyncio.get_running_loop().time()
            if now - self._cluster[0] > _CLUSTER_ANEW:
                admin = self.admin()
                try:
                    await admin.start()
                    self._cluster = now, str((await admin.describe_cluster())["cluster_id"] or "")
                finally:
                    await admin.close()
            return self._cluster[1]

    def group(self, group_id: str, assignors: Sequence[Any] = (), **options: Any) -> AIOKafkaConsumer:
        """A member that commits by hand; a partition without a position is an error, never a guess. ``assignors``: one
        at most, as aiokafka joins once for each; by default ranges."""
        session_ms = int(self.timing.session * 1000)
        settings: dict[str, Any] = {
            "group_id": group_id,
            "enable_auto_commit": False,
            "auto_offset_reset": "none",
            "partition_assignment_strategy": list(assignors) or [RangePartitionAssignor],
            "session_timeout_ms": session_ms,
            "rebalance_timeout_ms": session_ms,
            "heartbeat_interval_ms": int(self.timing.heartbeat * 1000),
            "max_poll_interval_ms": _POLL_INTERVAL_MS,
            "max_partition_fetch_bytes": _AHEAD_BYTES,
        }
        return self.consumer(**(settings | options))

    def reader(self, **options: Any) -> AIOKafkaConsumer:
        """Without a group: it reads what it is assigned from where it is told, nothing of an unfinished transaction."""
        settings: dict[str, Any] = {
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "isolation_level": "read_committed",
            "max_partition_fetch_bytes": _FETCH_BYTES,
            "fetch_max_wait_ms": 100,
        }
        return self.consumer(**(settings | options))

    def consumer(self, *topics: str, **settings: Any) -> AIOKafkaConsumer:
        """With aiokafka's own settings but for ``settings``."""
        made = AIOKafkaConsumer(*topics, **self._common, **settings)
        renew(made._client, self.security.password)  # noqa: SLF001 - consumers have no public way to it
        return made

    def past(self, **options: Any) -> AIOKafkaConsumer | ArchivedReader:
        """A reader to which the archive, where there is one, is part of the log."""
        reader = self.reader(**options)
        return reader if self.archive is None else ArchivedReader(reader, self, self.archive)

    def admin(self) -> AIOKafkaAdminClient:
        made = AIOKafkaAdminClient(**self._common)
        renew(made._client, self.security.password)  # noqa: SLF001
        return made

    def producer(self, **options: Any) -> AIOKafkaProducer:
        return self._with(acks="all", enable_idempotence=True, **options)

    def _with(self, **options: Any) -> AIOKafkaProducer:
        made = AIOKafkaProducer(**self._common, **options)
        renew(made.client, self.security.password)
        return made

    def teller(self) -> AIOKafkaProducer:
        """For what is said anew every second: one that is lost is made up for by the next."""
        return self._with(acks=1, request_timeout_ms=3_000)

    def transactional(self, transactional_id: str) -> AIOKafkaProducer:
        """Its ``start`` fences every other producer of this id, and aborts what it left open."""
        return self._with(
            acks="all",
            transactional_id=transactional_id,
            transaction_timeout_ms=_TRANSACTION_MS,
            max_request_size=_RECORD_BYTES,
        )


async def started_producer(producer: AIOKafkaProducer) -> AIOKafkaProducer:
    """It; nothing is left of one that does not start."""
    try:
        await producer.start()
    except BaseException:
        await stop_producer(producer)
        raise
    return producer


async def started_reader(reader: R) -> R:
    """It; nothing is left of one that does not start."""
    try:
        await reader.start()
    except BaseException:
        await stop_consumer(reader)
        raise
    return reader


async def stop_consumer(consumer: AIOKafkaConsumer, limit: float = 5.0) -> None:
    """Leaves its group; where Kafka is away that is given up after ``limit`` seconds."""
    stopping = asyncio.create_task(consumer.stop())
    done, _ = await asyncio.wait({stopping}, timeout=limit)
    if not done:
        stopping.cancel()
    elif not stopping.cancelled() and (error := stopping.exception()):
        log.debug("a consumer did not stop cleanly", error=repr(error))


def discard_producer(producer: AIOKafkaProducer) -> None:
    """Stops it in the background; nothing that waits is appended by it any more after its limit."""
    task = asyncio.create_task(stop_producer(producer))
    _discarding.add(task)
    task.add_done_callback(_discarding.discard)


async def discarded() -> None:
    """Waits until all discarded producers have stopped."""
    if _discarding:
        await asyncio.wait(_discarding)


async def stop_producer(producer: AIOKafkaProducer, limit: float = 2.0) -> None:
    """``stop()`` waits for its unsent batches; without a broker that is for ever, so its connections are closed."""
    stopping = asyncio.create_task(producer.stop())
    done, _ = await asyncio.wait({stopping}, timeout=limit)
    if not done:
        stopping.cancel()
        await producer.client.close()
        await asyncio.wait({stopping}, timeout=limit)
        sender = producer._sender.sender_task  # noqa: SLF001 - there is no public way to stop it without a broker
        if sender is not None and not sender.done():
            sender.cancel()
            await asyncio.wait({sender}, timeout=limit)
    with suppress(KafkaError, asyncio.CancelledError):
        if stopping.done() and not stopping.cancelled() and (error := stopping.exception()):
            log.debug("a producer did not stop cleanly", error=repr(error))
