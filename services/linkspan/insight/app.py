"""All that Faust does here: the group, who has which partitions, the tables and their recovery from changelogs.

What it does not do is said in docs/decisions/0017: nothing is acknowledged by a stream, no table is written inside an
agent, and no record is repartitioned by ``group_by``. Agents hand records over, and the pipeline does the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import faust
import structlog
from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from faust.types import TP
from yarl import URL

from linkspan.insight.inbox import Inbox
from linkspan.insight.plan import Plan
from linkspan.insight.recovery import Changelogs, FilledTables
from linkspan.insight.settings import InsightSettings
from linkspan.insight.shelf import Shelf
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.kafka.security import Security
from linkspan.kernel.topics import CONVERSATIONS_TABLE

log = structlog.get_logger()

#: Seconds that what is under way has to end when partitions go.
_REVOKE = 5.0
_STOP = 15.0
_COMMIT = 1.5
_WEEK = 7 * 24 * 3600.0
_MEMORY = {"write_buffer_size": 8 << 20, "max_write_buffer_number": 2, "block_cache_size": 16 << 20}


class Streams:
    """``held`` changes whenever partitions go or come: what was begun under another one is void."""

    def __init__(
        self, plan: Plan, settings: InsightSettings, clients: KafkaClients, directory: Path, address: str
    ) -> None:
        self.plan, self.held = plan, 0
        self.inbox = Inbox(4_000)
        self.busy = asyncio.Lock()
        self._app = faust.App(plan.topics.app, **_settings(settings, directory, address))
        self.windows = {
            flow: self._shelf(plan.topics.windows(flow), partitions) for flow, partitions in plan.flows.items()
        }
        self.conversations = self._shelf(CONVERSATIONS_TABLE, plan.partitions) if plan.within else None
        kept = [*self.windows.values(), *([self.conversations] if self.conversations else [])]
        self._app.tables.changelogs = Changelogs(clients, kept)
        self._app.agent(self._app.topic(*plan.sources, **_RAW), name="insight")(self._hand_over)
        self._app.on_partitions_revoked.connect(self._let_go)
        self._app.on_partitions_assigned.connect(self._assigned)

    def _shelf(self, name: str, partitions: int) -> Shelf:
        options = {"driver": "rocksdict", **_MEMORY}
        table = self._app.Table(name, key_type=bytes, value_type=bytes, partitions=partitions, options=options)
        return Shelf(table, self.plan.topics.changelog(name))

    async def _hand_over(self, stream: Any) -> None:
        stream.enable_acks = False
        async for event in stream.events():
            await self.inbox.put(event.message)

    async def _let_go(self, _app: Any, _revoked: set[TP], **_: Any) -> None:
        """Kafka gives the partitions to others only after this returns."""
        self.held += 1
        self.inbox.clear()
        try:
            async with asyncio.timeout(_REVOKE):
                await self.busy.acquire()
            self.busy.release()
        except TimeoutError:
            log.warning("partitions go while something is being written")

    async def _assigned(self, _app: Any, _assigned: set[TP], **_: Any) -> None:
        self.held += 1
        self.inbox.clear()

    async def start(self) -> None:
        """Returns when the tables are recovered, which needs Kafka and may take as long as it wants to."""
        self._app.finalize()
        await self._app.start()

    async def stop(self) -> None:
        try:
            async with asyncio.timeout(_STOP):
                await self._app.stop()
        except TimeoutError:
            log.warning("Faust did not stop in time")

    @property
    def crashed(self) -> str | None:
        """Why Faust gave up, where it did."""
        return repr(self._app.crash_reason) if self._app.crashed or self._app.should_stop else None

    @property
    def settled(self) -> bool:
        """Partitions are assigned, and their tables are as the changelogs are."""
        return bool(self._app.tables.actives_ready) and not self._app.rebalancing and not self._app.in_recovery

    def partitions(self, topic: str) -> set[int]:
        """Those of the topic that this worker has."""
        return {tp.partition for tp in self._app.consumer.assignment() if tp.topic == topic}

    def current(self, messages: Sequence[Any]) -> list[Any]:
        """Those that came with the partitions that are held now."""
        return [message for message in messages if message.generation_id == self._app.consumer_generation_id]

    async def send(
        self, topic: str, partition: int, key: bytes, value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()
    ) -> Awaitable[Any]:
        """Awaiting what it gives waits for Kafka's acknowledgement. Raises KafkaError, as that does."""
        sent: Awaitable[Any] = await self._app.producer._ensure_producer().send(  # noqa: SLF001
            topic, value, key=key, partition=partition, headers=list(headers) or None
        )
        return sent

    async def commit(self, positions: Mapping[tuple[str, int], int]) -> bool:
        """For lag tools alone, so it may fail. Faust's own way commits over what it never handed over."""
        consumer, held = self._app.consumer, self.held
        assigned = {(tp.topic, tp.partition) for tp in consumer.assignment()}
        offsets = {TopicPartition(*place): offset for place, offset in positions.items() if place in assigned}
        if not offsets or not self.settled or held != self.held:
            return False
        thread = consumer._thread  # noqa: SLF001 - its client lives in a thread's loop
        waiting = asyncio.run_coroutine_threadsafe(thread._ensure_consumer().commit(offsets), thread.thread_loop)  # noqa: SLF001
        try:
            async with asyncio.timeout(_COMMIT):
                await asyncio.wrap_future(waiting)
        except (KafkaError, TimeoutError) as error:
            log.debug("not committed", error=repr(error))
            return False
        return True

    def read_again(self, place: tuple[str, int], offset: int) -> None:
        """The partition from this offset on."""
        consumer = self._app.consumer
        if place[1] not in self.partitions(place[0]):
            return
        thread = consumer._thread  # noqa: SLF001
        tp = TopicPartition(*place)
        thread.thread_loop.call_soon_threadsafe(_sought, thread._ensure_consumer(), tp, offset)  # noqa: SLF001
        consumer._read_offset[TP(*place)] = offset  # noqa: SLF001 - or it drops what is below
        log.info("read again", topic=place[0], partition=place[1], offset=offset)


def _sought(consumer: Any, tp: TopicPartition, offset: int) -> None:
    with suppress(IllegalStateError):  # it went meanwhile
        consumer.seek(tp, offset)


_RAW = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw", "allow_empty": True}


def _credentials(security: Security) -> Any:
    """As Faust wants them; None: in the clear, as nobody. The password is the one of now."""
    context = security.options().get("ssl_context")
    if security.username is None or security.password is None:
        return faust.SSLCredentials(context=context) if context else None
    secret = security.password.get_secret_value()
    return faust.SASLCredentials(
        username=security.username, password=secret, ssl_context=context, mechanism=security.mechanism
    )


def _settings(settings: InsightSettings, directory: Path, address: str) -> dict[str, Any]:
    session = settings.linkspan_session_seconds
    return {
        "broker": [URL(f"kafka://{server}") for server in settings.kafka.split(",")],
        "broker_credentials": _credentials(settings.kafka_security),
        "broker_session_timeout": session,
        "broker_rebalance_timeout": session,
        "broker_heartbeat_interval": session / 5,
        "broker_request_timeout": max(40.0, 2 * session),
        "broker_commit_interval": 60.0,
        "broker_max_poll_interval": _WEEK,
        "consumer_auto_offset_reset": "earliest",
        "producer_acks": -1,
        "producer_max_batch_size": 256 * 1024,
        "key_serializer": "raw",
        "value_serializer": "raw",
        "store": "rocksdb://",
        "datadir": str(directory),
        "canonical_url": URL(address),
        "processing_guarantee": "at_least_once",
        "stream_wait_empty": False,
        "table_standby_replicas": 0,
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "TableManager": FilledTables,
        "web_enabled": False,
        "autodiscover": False,
    }
