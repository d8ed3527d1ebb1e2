"""``linkspan ledger`` on a real Kafka, into both kinds of database."""

from __future__ import annotations

import asyncio
import re
import time

import aiohttp
import pytest
from tests.integration.egress.bridge import FLOW, order_id
from tests.integration.ledger.conftest import MakeSite

from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.ledger.follow import Follower
from linkspan.readmodel.rows import MessageFilter

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]


async def test_events_and_outcomes_are_folded_as_they_come(site: MakeSite) -> None:
    made, began = await site(), time.time()
    async with made.ledger() as ledger:
        await made.traffic(300)
        await made.settled({"delivered": 300})
        (wanted,) = await made.append((order_id(1), 1))
        await made.settled({"delivered": 300, "in_flight": 1})
        (row,) = await made.queries.message(wanted)
        assert (row.flow, row.status, row.key, row.type) == (FLOW, "in_flight", order_id(1), "Order")
        assert (row.source, row.destination, row.priority) == ("shop", "store", "normal")
        await made.outcomes(
            row.partition, ("attempt_failed", row.offset, 1), failure="transient", reason="busy", attempt=1
        )
        await made.outcomes(row.partition, ("delivered", row.offset, 1), attempt=2, transform="abc")
        await made.settled({"delivered": 301})
        (done,) = await made.queries.message(wanted)
        assert (done.status, done.attempts, done.transform, done.failure) == ("delivered", 2, "abc", None)
        assert done.delivered_at == done.decided_at is not None
        timeline = await made.queries.timeline(FLOW, row.partition, row.offset)
        assert [one.kind for one in timeline] == ["accepted", "attempt_failed", "delivered"]
        assert timeline[1].reason == "busy"
        folded = await made.queries.folded()
        assert sum(one.events for one in folded) == 301
        async with aiohttp.ClientSession() as session, session.get(f"{ledger.address}/health") as answer:
            assert answer.status == 200, await answer.text()
        async with aiohttp.ClientSession() as session, session.get(f"{ledger.address}/metrics") as answer:
            assert f'linkspan_ledger_unaccounted{{flow="{FLOW}"}} 0.0' in await answer.text()
            assert f'linkspan_ledger_records_total{{flow="{FLOW}"}} 603.0' in await answer.text()
            assert f'linkspan_dead_letters{{flow="{FLOW}"}} 0.0' in await answer.text()
            (stepped,) = re.findall(
                r"^linkspan_ledger_stepped_timestamp_seconds (.*)$", await answer.text(), re.MULTILINE
            )
            assert began <= float(stepped) <= time.time()


async def test_pages_end_and_begin_where_they_should(site: MakeSite) -> None:
    made = await site()
    async with made.ledger():
        await made.traffic(25)
        await made.settled({"delivered": 25})
    seen, token = [], ""
    while True:
        rows, token = await made.queries.messages(MessageFilter(flow=FLOW, status="delivered"), 10, token)
        seen += rows
        if not token:
            break
    assert len(seen) == len({(row.partition, row.offset) for row in seen}) == 25
    assert [row.accepted_at for row in seen] == sorted((row.accepted_at for row in seen), reverse=True)


async def test_before_anything_is_folded_it_says_how_much_there_is_to_fold(site: MakeSite) -> None:
    made = await site()
    await made.traffic(300)
    await asyncio.to_thread(made.database.prepare, made.name)
    follower = Follower(KafkaClients(made.bootstrap), made.integration, made.catalog, made.database)
    try:
        await follower.open(await follower.everything())
        assert follower.lag() == {FLOW: 600}
        assert sum(one.lag for one in await made.queries.folded()) == 600
        while any(follower.lag().values()):
            await follower.step()
    finally:
        await follower.close()
    assert await made.counts() == {"delivered": 300}
    assert not any(one.lag for one in await made.queries.folded())
