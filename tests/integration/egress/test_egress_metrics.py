"""What a replica's metrics say of deliveries is what became of them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from tests.integration.egress.bridge import order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination

pytestmark = pytest.mark.kafka

Samples = defaultdict[str, float]
OPEN_METRICS = {"Accept": "application/openmetrics-text;version=1.0.0"}


async def samples(address: str) -> tuple[Samples, str]:
    """By name and labels, and the text."""
    async with aiohttp.ClientSession(headers=OPEN_METRICS) as session, session.get(f"{address}/metrics") as answer:
        text = await answer.text()
    found: Samples = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(one.labels.items()))
            found[f"{one.name}{{{labels}}}"] = one.value
    return found, text


async def until(address: str, true: Callable[[Samples], bool]) -> tuple[Samples, str]:
    async with asyncio.timeout(40):
        while True:
            found, text = await samples(address)
            if true(found):
                return found, text
            await asyncio.sleep(0.2)


WHERE = "destination=store,flow=orders"


async def test_metrics_say_what_became_of_the_messages(bridge: MakeBridge, rest: RestDestination) -> None:
    bad = order_id(3)
    rest.reply = lambda got: 422 if got.order == (bad, 0) else 201
    made = await bridge(rest_system(rest), partitions=1, on_dead_letter="hold")
    orders = [(order_id(key), line) for key in range(10) for line in range(2)]
    async with made.egress() as process:
        ids = await made.append(*orders)
        held = "linkspan_held_keys{flow=orders,partition=0}"
        delivered = f"linkspan_outcomes_total{{{WHERE},kind=delivered}}"
        follower = f"linkspan_outcomes_total{{{WHERE},kind=held}}"
        under_way, lag = f"linkspan_in_flight{{{WHERE}}}", "linkspan_lag{flow=orders,partition=0}"
        wanted = {held: 1, delivered: 18, follower: 1, under_way: 0, lag: 0}
        found, text = await until(process.address, lambda now: all(now[name] == said for name, said in wanted.items()))
        assert found[f"linkspan_outcomes_total{{{WHERE},kind=dead_lettered}}"] == 1
        assert found[f"linkspan_attempts_total{{{WHERE},result=delivered}}"] == 18
        assert found[f"linkspan_attempts_total{{{WHERE},result=rejected}}"] == 1
        assert found["linkspan_dead_lettered_total{flow=orders,reason=rejected}"] == 1
        assert found[f"linkspan_end_to_end_seconds_count{{{WHERE}}}"] == 18
        assert found[f"linkspan_destination_seconds_count{{{WHERE}}}"] == 19
        assert found["linkspan_stage_seconds_count{flow=orders,stage=wait}"] == 19
        assert found["linkspan_stage_seconds_count{flow=orders,stage=prepare}"] == 19
        assert found["linkspan_stage_seconds_count{flow=orders,stage=record}"] >= 1
        assert found["linkspan_breaker_state{system=store,to=orders}"] == 0
        assert not [identity for identity in ids if identity in text]
        assert bad not in text


async def test_an_outage_is_lag_age_and_an_open_breaker(bridge: MakeBridge, rest: RestDestination) -> None:
    made = await bridge(rest_system(rest), partitions=1)
    async with made.egress() as process:
        await rest.stop()
        await made.append(*[(order_id(key), 0) for key in range(5)])
        oldest = "linkspan_oldest_unfinished_seconds{flow=orders,partition=0}"
        found, _ = await until(process.address, lambda now: now[oldest] > 1)
        assert found[f"linkspan_in_flight{{{WHERE}}}"] == 5
        assert found["linkspan_breaker_state{system=store,to=orders}"] > 0
        assert found["linkspan_breaker_opened_total{system=store,to=orders}"] == 1
        assert found[f"linkspan_attempts_total{{{WHERE},result=unavailable}}"] >= 1
        await rest.start()
        await until(process.address, lambda now: now[oldest] == 0 and now[f"linkspan_in_flight{{{WHERE}}}"] == 0)
