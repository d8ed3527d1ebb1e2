"""A site whose flow polls a feed, and what Kafka and egress have of it."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

from aiohttp import ClientSession
from aiokafka import AIOKafkaConsumer, TopicPartition
from tests.integration.egress.destinations import QueueDestination
from tests.integration.ingress.feed_server import FeedServer
from tests.integration.ingress.site import Replica, Site

from linkspan.control.tail import ControlTail
from linkspan.egress.flow import FlowService
from linkspan.kernel.blobs import BlobStore
from linkspan.kernel.codec import OutcomeCodec
from linkspan.kernel.commands import CommandCodec
from linkspan.kernel.kafka.clients import KafkaClients, discarded
from linkspan.kernel.spec_file import catalog_for, load_integration
from linkspan.kernel.telemetry.traces import Tracing

#: So long a killed replica counts as the leader; the next one waits for that, at worst for two of them.
SHORT = {"LINKSPAN_SESSION_SECONDS": "6"}
POLL = "poll: {path: /v1/changes, every: 200ms, limit: 10}"


def order(count: int = 1, **more: Any) -> dict[str, Any]:
    return {"orderId": str(uuid.uuid4()), "count": count, **more}


def polled(tmp_path: Path, bootstrap: str, feed: FeedServer, poll: str = POLL) -> Site:
    return Site(tmp_path / "site", bootstrap, shop_port=feed.port, poll=poll)


async def silent(feed: FeedServer) -> None:
    """Ends when nothing was asked for ten times as long as between two polls."""
    asked = -1
    while len(feed.asked) != asked:
        asked = len(feed.asked)
        await asyncio.sleep(2)


async def records(site: Site, count: int, within: float = 40) -> list[Any]:
    """Waits until there are so many; then none may follow for half a second."""
    async with asyncio.timeout(within):
        while len(await site.records()) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    await asyncio.sleep(0.5)
    found = await site.records()
    assert len(found) == count
    return found


async def events(site: Site, count: int) -> dict[str, dict[str, Any]]:
    """Waits until there are so many different ones: a page is appended again where Kafka was slow to acknowledge it."""
    async with asyncio.timeout(60):
        while len(found := await site.events()) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.5)
    return found


async def cursors(site: Site) -> list[str]:
    consumer = AIOKafkaConsumer(bootstrap_servers=site.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = [TopicPartition(f"{site.name}.sources", number) for number in range(2)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found: list[str] = []
        while any([await consumer.position(one) < ends[one] for one in partitions]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                found += [json.loads(record.value)["cursor"] for record in batch if record.key == b"shop"]
        return found
    finally:
        await consumer.stop()


async def cursor_is(site: Site, wanted: str) -> None:
    async with asyncio.timeout(60):
        while (await cursors(site))[-1:] != [wanted]:  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def outcomes(site: Site, count: int) -> list[dict[str, Any]]:
    """What egress makes of the flow's events."""
    destination = await QueueDestination(api_key="the-key", port=site.works_port).start()
    integration = load_integration(site.file, {})
    catalog = catalog_for(integration)
    clients = KafkaClients(site.bootstrap)
    tail = ControlTail(clients, integration.integration, CommandCodec(catalog))
    following = asyncio.create_task(tail.run())
    blobs = BlobStore(str(site.blobs))
    service = FlowService(integration, "orders", catalog, clients, blobs, Tracing(None, 0.0), 500, tail)
    codec = OutcomeCodec(catalog)
    reader = clients.reader()
    await reader.start()
    await service.start()
    try:
        reader.assign([TopicPartition(site.topic("orders", "outcomes"), number) for number in range(2)])
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(40):
            while len(found) < count:
                for batch in (await reader.getmany(timeout_ms=200)).values():
                    read = [codec.decode(record.value) for record in batch]
                    found += [outcome for outcome in read if outcome["offset"] >= 0]  # the owner's own is of no event
        return found
    finally:
        await service.stop()
        following.cancel()
        await destination.stop()
        await discarded()
        await reader.stop()


async def metrics(one: Replica) -> dict[str, float]:
    async with ClientSession() as session, session.get(one.url + "/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}
