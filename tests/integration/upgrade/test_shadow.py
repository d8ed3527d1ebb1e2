"""``linkspan shadow`` compares what this version makes of live events with what was delivered, and sends nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import yaml
from tests.integration.cli.operator import Done, Operator
from tests.integration.egress.bridge import FLOW, Bridge, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination, until

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]
STEP = "{'orderId': orderId, 'line': line, 'text': $uppercase(text)}"


def changed(made: Bridge, step: str) -> str:
    """The next version's file, beside the one that runs."""
    spec = yaml.safe_load(made.path.read_text())
    spec["flows"][FLOW]["transform"] = [{"jsonata": step}]
    path = made.path.parent / "next.yaml"
    path.write_text(yaml.safe_dump(spec))
    return str(path)


async def shadowed(made: Bridge, file: str, *arguments: str, count: int = 6, **options: Any) -> Done:
    """While ``count`` messages are delivered, once the shadow looks."""
    operator = Operator(made, "")
    looking = asyncio.create_task(operator("shadow", FLOW, file, "--for", "25s", "--messages", str(count), *arguments))
    number = 0
    while not looking.done():
        await made.append((order_id(number % 3), number), **options)
        number += 1
        await asyncio.sleep(0.2)
    return looking.result()


async def test_the_same_version_delivers_the_same_and_a_shadow_sends_nothing(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest), partitions=2, transform=[{"jsonata": STEP}])
    async with made.egress():
        done = await shadowed(made, str(made.path), "--output", "json")
        said = done.json
        assert (said["well"], said["different"], said["failed"]) == (True, 0, 0)
        assert said["equal"] == said["compared"] >= 6
        sent = {one.id for one in rest.got}
        assert len(sent) == len(rest.got)


async def test_another_result_is_counted_and_shown_as_a_difference(bridge: MakeBridge, rest: RestDestination) -> None:
    made = await bridge(rest_system(rest), partitions=1, transform=[{"jsonata": STEP}])
    other = changed(made, "{'orderId': orderId, 'line': line, 'text': line % 2 = 0 ? 'even' : $uppercase(text)}")
    async with made.egress():
        done = await shadowed(made, other, "--samples", "1")
        assert done.code == 1
        assert '-  "text": "LINE ' in done.out
        assert '+  "text": "even"' in done.out
        assert "version" in done.out.splitlines()[-1]
        allowed = await shadowed(made, other, "--most-different", "1", "--output", "json")
        assert allowed.json["different"] > 0


async def test_what_this_version_makes_nothing_of_has_failed(bridge: MakeBridge, rest: RestDestination) -> None:
    made = await bridge(rest_system(rest), partitions=1, transform=[{"jsonata": STEP}])
    broken = changed(made, "{'orderId': orderId, 'line': 'no number', 'text': text}")
    async with made.egress():
        done = await shadowed(made, broken, "--output", "json")
    said = json.loads(done.out)
    assert (done.code, said["failed"]) == (1, said["compared"])
    assert "payload.line" in said["samples"][0]["error"]


async def test_lookups_beyond_the_rate_are_counted_as_not_asked(bridge: MakeBridge, rest: RestDestination) -> None:
    made = await bridge(rest_system(rest), partitions=1)
    spec = yaml.safe_load(made.path.read_text())
    lookup = {"system": "store", "path": "/names/{orderId}", "key": "orderId", "into": "text"}
    spec["flows"][FLOW]["transform"] = [{"lookup": lookup}]
    path = made.path.parent / "next.yaml"
    path.write_text(yaml.safe_dump(spec))
    async with made.egress():
        await made.append((order_id(1), 0))
        await until(lambda: bool(rest.got), 120)
        operator = Operator(made, "")
        looking = asyncio.create_task(
            operator("shadow", FLOW, str(path), "--for", "15s", "--lookups", "0", "--output", "json")
        )
        for number in range(1, 40):
            await made.append((order_id(1), number))
            await asyncio.sleep(0.3)
        done = await looking
    said = json.loads(done.out)
    assert (done.code, said["compared"]) == (1, 0)
    assert sum(said["not_comparable"].values()) > 0
    assert all(one.path != f"/names/{order_id(1)}" for one in rest.got)


async def test_an_unknown_flow_is_a_mistake(bridge: MakeBridge) -> None:
    made = await bridge({"kind": "rest", "url": "http://127.0.0.1:9"}, partitions=1)
    done = await Operator(made, "")("shadow", "parcels", str(made.path))
    assert (done.code, done.out) == (2, "")
    assert done.err == f"linkspan: parcels: there is no such flow; there are {FLOW}\n"
