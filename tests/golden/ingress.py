"""Histories that begin at ingress: a spool that was drained, a feed that was polled."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp

from linkspan.broker import EmbeddedKafka
from tests.integration.ingress.feed_server import feed_server
from tests.integration.ingress.outage import QUICK, send_batch, until_accepting, until_drained
from tests.integration.ingress.polling import POLL, outcomes, polled, records
from tests.integration.ingress.site import Site, order, replica
from tests.integration.ingress.test_outage import until as until_status

KEYS = [f"01980000-0000-7000-8000-{number:012x}" for number in range(4)]


async def drained_spool(broker: EmbeddedKafka, folder: Path) -> tuple[Path, str]:
    """Some before Kafka went away, some into the spool, some while it drained; then all are delivered."""
    site = Site(folder / "site", broker.bootstrap, away="spool")
    async with (
        replica(site, LINKSPAN_DATA=str(folder / "data"), **QUICK) as one,
        aiohttp.ClientSession(one.url) as client,
    ):
        await until_accepting(client)
        await send_batch(client, [order(KEYS[n % 4], n) for n in range(8)])
        await asyncio.to_thread(broker.kill)
        await until_status(client, "/ready", 503)
        await until_accepting(client)
        await send_batch(client, [order(KEYS[n % 4], n) for n in range(8, 16)])
        await asyncio.to_thread(broker.start)
        await until_status(client, "/ready", 200)
        await send_batch(client, [order(KEYS[n % 4], n) for n in range(16, 20)])
        await until_drained(client)
    await outcomes(site, 22)
    return site.file, "orders"


async def polled_feed(broker: EmbeddedKafka, folder: Path) -> tuple[Path, str]:
    """Good changes, defaults left out, uuids in capitals, and items that are no messages."""
    async with feed_server() as feed:
        for number in range(6):
            feed.add({"orderId": KEYS[number % 3].upper() if number % 2 else KEYS[number % 3], "count": number})
        feed.add({"orderId": KEYS[0], "count": "many"})
        feed.add({"orderId": KEYS[3], "count": 7, "note": "said"}, priority="critical", at="2026-01-31T08:00:00Z")
        feed.items.append('{"change": 9, "type": "OrderPlaced"}')
        feed.add({"orderId": KEYS[0], "count": 10})
        site = polled(folder, broker.bootstrap, feed, POLL)
        async with replica(site):
            await records(site, 10)
        await outcomes(site, 12)
    return site.file, "orders"
