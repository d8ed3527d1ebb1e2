"""Marked values go through everything, and stand nowhere but at their destination."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from tests.integration.at_rest.place import (
    MARKER,
    MISFIT,
    OPEN,
    PATIENCE,
    REFUSED,
    Place,
    Running,
    id_of,
    new_id,
    order,
    until,
)
from tests.integration.cli.operator import Operator

from linkspan.kernel.topics import Headers

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]
LARGE = base64.b64encode(f"{MARKER} {OPEN} ".encode() * 8000).decode()


async def send(session: aiohttp.ClientSession, *messages: Any) -> int:
    if len(messages) == 1:
        async with session.post("/v1/messages", json=messages[0]) as response:
            said = await response.text()
            assert response.status == 400 or MARKER not in said
            return response.status
    lines = "\n".join(map(json.dumps, messages))
    headers = {"Content-Type": "application/x-ndjson"}
    async with session.post("/v1/messages:batch", data=lines, headers=headers) as response:
        assert MARKER not in await response.text()
        return response.status


def hits(place: Place, text: str) -> list[str]:
    coded = base64.b64encode(text.encode()).decode()[4:-4]
    return place.files_with(text) + place.files_with(coded)


async def test_a_confidential_value_reaches_its_destination_and_stands_nowhere_else(place: Place) -> None:
    normal, misfit, refused = order(note=MARKER), order(MISFIT, note=MARKER), order(REFUSED, note=MARKER)
    batch = [order(number, note=f"{MARKER} {number}") for number in range(5)]
    large, spooled = order(file=LARGE), order(note=MARKER)
    bad = order(note=MARKER) | {"payload": {"orderId": new_id(), "line": MARKER, "note": MARKER}}
    systems = place.systems
    async with (
        place.process("ingress") as ingress,
        place.process("egress") as egress,
        place.process("ledger", "run"),
        aiohttp.ClientSession(ingress.url) as session,
    ):
        for message in (normal, misfit, refused, large):
            assert await send(session, message) == 202
        assert await send(session, *batch) < 300
        assert await send(session, bad) == 400
        systems.add(type="Order", payload=order(note=MARKER)["payload"])
        systems.add(type="Order", payload={"orderId": new_id(), "line": "x", "note": MARKER})
        systems.add(type="Order", note=MARKER)
        await until(lambda: len(systems.taken) == 1 + 5 + 1 + 1)
        # A while without Kafka: what is accepted waits on ingress's disk.
        await asyncio.to_thread(place.broker.stop)
        async with asyncio.timeout(PATIENCE):
            while (status := await send(session, spooled)) == 503:  # noqa: ASYNC110 - for a grace
                await asyncio.sleep(0.5)
        assert status == 202
        assert place.files_with(id_of(spooled)), "the spool has it"
        assert not hits(place, MARKER)
        await asyncio.to_thread(place.broker.start)
        await until(lambda: id_of(spooled) in systems.taken)
        assert systems.taken[id_of(normal)]["payload"]["note"] == MARKER
        assert systems.taken[id_of(spooled)]["payload"]["note"] == MARKER
        assert systems.taken[id_of(large)]["payload"]["file"] == LARGE
        await _views_show_none(place, egress, misfit, refused, normal)
    await asyncio.to_thread(place.broker.stop)
    assert hits(place, OPEN), "what is not confidential is found, so the search finds"
    assert not hits(place, MARKER)
    assert any(id_of(normal).encode() in body for body in systems.spans)
    assert not [body for body in systems.spans if MARKER.encode() in body]


async def _letters(linkspan: Operator) -> int:
    return len((await linkspan("dead-letters", "--output", "json")).json.get("letters", []))


async def until_async(count: Callable[[], Awaitable[int]], wanted: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while (found := await count()) < wanted:  # noqa: ASYNC110 - what is counted lies in files
            await asyncio.sleep(0.5)
    assert found == wanted


async def _views_show_none(place: Place, egress: Running, *messages: dict[str, Any]) -> None:
    linkspan = Operator(place, egress.control, more=place.environ)
    # The mapping, the refusal, and two items that are no message: these come when the source is polled again.
    await until_async(lambda: _letters(linkspan), 4)
    letters = await linkspan("dead-letters", "--output", "json")
    found = letters.json["letters"]
    reasons = {one["message_id"]: one["reason"] for one in found}
    assert "line" in reasons[id_of(messages[0])]
    assert reasons[id_of(messages[1])].startswith("what was said of it is withheld")
    said = [letters]
    for one in found:
        said.append(await linkspan("dead-letter", "orders", one["name"]))
        said.append(await linkspan("dead-letter", "orders", one["name"], "--output", "json"))
    said += [await linkspan.told("message", id_of(one), "--content", until="<confidential>") for one in messages]
    plan = await linkspan("replay", "plan", "orders", "--reason", "to see", "--diff", "--output", "json")
    said += [plan, await linkspan("replay", "run", plan.json["plan"], "--dry-run", "--force", "--reason", "to see")]
    said += [await linkspan("audit", str(place.path)), await linkspan("status")]
    assert not [one for one in said if MARKER in one.out + one.err]
    assert all(one.code == 0 for one in said[1:9]), said
    assert sum("<confidential>" in one.out for one in said[1:9]) == 6  # all with a payload, each way
    assert plan.code == 0, plan


async def test_what_came_in_and_is_no_message_is_kept_encrypted_and_known_when_it_comes_again(place: Place) -> None:
    place.systems.add(type="Order", payload={"orderId": new_id(), "line": "x", "note": MARKER})
    async with place.process("ingress"):
        found: list[Any] = []

        async def kept() -> None:
            while not found:
                found.extend(await place.records(place.topics.events))

        await asyncio.wait_for(kept(), 60)
    headers = dict(found[0].headers)
    assert b"payload.line" in headers[Headers.REFUSED]
    assert MARKER.encode() not in found[0].value
    assert all(MARKER.encode() not in value for value in headers.values())
