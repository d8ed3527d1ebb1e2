"""``Prefer: wait``: the answer is what became of the message, or that it is queued."""

import asyncio
import time
from typing import Any

import aiohttp
import pytest
from aiokafka import AIOKafkaProducer
from tests.integration.control.client import calling
from tests.integration.ingress.site import Replica, Site, message_id, order

from linkspan.control.v1 import status_pb2
from linkspan.ingress.accept.standing import FRESH
from linkspan.kernel.codec import OutcomeCodec, RecordCodec
from linkspan.kernel.message import now_micros
from linkspan.kernel.schemas import SchemaCatalog, packaged_schemas
from linkspan.kernel.topics import Headers

pytestmark = pytest.mark.kafka
#: Seconds: far from the 60 that would have been waited for.
AT_ONCE = 45


@pytest.fixture(autouse=True)
async def follows_outcomes(client: aiohttp.ClientSession, site: Site) -> None:
    """A replica is ready before it stands at the end of all outcomes; until then nobody waits."""
    await until_waited_for(client, site)


async def until_waited_for(client: aiohttp.ClientSession, site: Site) -> None:
    """A message that is delivered is answered as such."""
    async with asyncio.timeout(60):
        while True:
            message = order()
            asked = asyncio.create_task(waiting(client, message, 20))
            await accepted(site, message)
            if not asked.done():
                await decide(site, {"kind": "delivered", "messageId": message_id(message)})
            if (await asked)[0] == 200:
                return


async def accepted(site: Site, message: dict[str, Any]) -> None:
    """It is waited for from before that on."""
    async with asyncio.timeout(30):
        while not await is_in_kafka(site, message):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def is_in_kafka(site: Site, message: dict[str, Any]) -> bool:
    ids = {dict(record.headers)[Headers.MESSAGE_ID] for record in await site.records()}
    return message_id(message).encode() in ids


async def decide(site: Site, about: dict[str, Any], **headers: str) -> None:
    """Appends an outcome as an owner does."""
    producer = AIOKafkaProducer(bootstrap_servers=site.bootstrap, acks="all")
    await producer.start()
    said = {Headers.KIND: about["kind"], Headers.OFFSET: "0", Headers.MESSAGE_ID: about["messageId"], **headers}
    value = OutcomeCodec(SchemaCatalog(packaged_schemas())).encode({"offset": 0, "at": now_micros(), **about})
    topic = site.topic("orders", "outcomes")
    await producer.send_and_wait(
        topic, value, partition=0, headers=[(name, text.encode()) for name, text in said.items()]
    )
    await producer.stop()


async def tell(site: Site, breaker: str | None, replica: str = "egress-1") -> None:
    """Appends a status record as an egress replica does every second; None: it ends."""
    flow = {"flow": "orders", "destination": "works", "breaker": breaker}
    codec = RecordCodec(SchemaCatalog(packaged_schemas()), "Status")
    said = {"replica": replica, "at": now_micros(), "control": 0, "flows": [flow]}
    async with AIOKafkaProducer(bootstrap_servers=site.bootstrap) as producer:
        value = codec.encode(said) if breaker else None
        await producer.send_and_wait(f"{site.name}.status", value, replica.encode(), partition=0)


async def waiting(client: aiohttp.ClientSession, message: dict[str, Any], seconds: int) -> tuple[int, Any, str | None]:
    async with client.post("/v1/messages", json=message, headers={"Prefer": f"wait={seconds}"}) as answer:
        return answer.status, await answer.json(content_type=None), answer.headers.get("Preference-Applied")


async def test_a_delivery_is_the_answer(client: aiohttp.ClientSession, site: Site) -> None:
    message = order()
    asked = asyncio.create_task(waiting(client, message, 60))
    await accepted(site, message)
    await decide(site, {"kind": "attempt_failed", "messageId": message_id(message)})
    await decide(site, {"kind": "delivered", "messageId": message_id(message)}, plan="a-replay")
    await asyncio.sleep(0.5)
    assert not asked.done()
    await decide(site, {"kind": "delivered", "messageId": message_id(message)})
    status, body, applied = await asyncio.wait_for(asked, 60)
    assert (status, applied) == (200, "wait=60")
    assert body["success"] is True
    assert body["data"]["processed"] is True
    assert body["data"]["messageId"] == message_id(message)
    assert body["data"]["deliveredAt"].endswith("Z")


async def test_a_dead_letter_is_a_problem_with_its_reason(client: aiohttp.ClientSession, site: Site) -> None:
    message = order()
    asked = asyncio.create_task(waiting(client, message, 60))
    await accepted(site, message)
    about = {"messageId": message_id(message), "failure": "rejected", "reason": "unknown article"}
    await decide(site, {"kind": "dead_lettered", **about})
    status, body, _ = await asyncio.wait_for(asked, 60)
    assert status == 422
    assert body["success"] is False
    assert (body["outcome"], body["class"], body["reason"]) == ("dead_lettered", "rejected", "unknown article")


async def test_without_an_outcome_in_time_it_is_queued(client: aiohttp.ClientSession) -> None:
    message = order()
    started = time.monotonic()
    status, body, applied = await asyncio.wait_for(waiting(client, message, 1), AT_ONCE)
    assert time.monotonic() - started > 0.9
    assert (status, applied) == (202, "wait=1")
    assert body["messageId"] == message_id(message)
    assert body["queued"] is True
    assert body["willRetry"] is True


async def test_while_the_destination_is_away_it_is_queued_at_once(client: aiohttp.ClientSession, site: Site) -> None:
    await tell(site, "open")
    await asyncio.sleep(1)
    status, body, applied = await asyncio.wait_for(waiting(client, order(), 60), AT_ONCE)
    assert (status, applied, body["queued"], body["willRetry"]) == (202, "wait=60", True, True)
    await tell(site, None)


async def test_a_destination_that_goes_away_meanwhile_ends_the_waiting(
    client: aiohttp.ClientSession, site: Site
) -> None:
    asked = asyncio.create_task(waiting(client, order(), 60))
    await asyncio.sleep(0.5)
    await tell(site, "closed")
    await asyncio.sleep(0.5)
    assert not asked.done()
    await tell(site, "probing")
    status, body, _ = await asyncio.wait_for(asked, 30)
    assert (status, body["willRetry"]) == (202, True)
    await tell(site, None)


@pytest.mark.parametrize("last", ["closed", None])
async def test_a_destination_that_is_back_is_waited_for(
    client: aiohttp.ClientSession, site: Site, last: str | None
) -> None:
    """Sooner than what was said last is too old; where the machine stood still meanwhile, it is said once more."""
    async with asyncio.timeout(100):
        while True:
            began = time.monotonic()
            await tell(site, "open")
            await waiting(client, order(), 60)  # until it is heard
            await tell(site, last)
            await until_waited_for(client, site)
            if time.monotonic() - began < FRESH:
                return


async def test_while_the_flow_is_paused_it_is_queued_at_once_and_whoever_waits_is_told(
    client: aiohttp.ClientSession, site: Site, started: Replica
) -> None:
    """Over the control API of ingress itself, which says how it stands too."""
    token = (site.folder / "data" / "control" / "token").read_text().strip()
    asked = asyncio.create_task(waiting(client, order(), 60))
    async with calling(started.control, token) as caller:
        await asyncio.sleep(0.5)
        assert (await caller.pause()).result == "paused"
        status, body, _ = await asyncio.wait_for(asked, 30)
        assert (status, body["queued"], body["willRetry"]) == (202, True, True)
        status, body, _ = await asyncio.wait_for(waiting(client, order(), 60), AT_ONCE)
        assert (status, body["willRetry"]) == (202, True)
        said = await caller("GetStatus", status_pb2.GetStatusRequest())
        flows = {flow.flow: flow.paused for flow in said.flows}
        assert flows == {"orders": True, "reports": False}
        (replica,) = [one for one in said.replicas if one.control_address == started.control]
        assert (replica.service, replica.spooled) == ("ingress", 0)
        assert (await caller.resume()).result == "resumed"
        asked = asyncio.create_task(waiting(client, order(), 20))
        await asyncio.sleep(1)
        assert not asked.done()


async def test_what_was_said_long_ago_is_not_believed(client: aiohttp.ClientSession, site: Site) -> None:
    await tell(site, "open", "egress-that-was-killed")
    await waiting(client, order(), 60)  # until it is heard
    await asyncio.sleep(FRESH + 1)
    message = order()
    asked = asyncio.create_task(waiting(client, message, 20))
    await accepted(site, message)
    await asyncio.sleep(1)
    assert not asked.done()
    await decide(site, {"kind": "delivered", "messageId": message_id(message)})
    assert (await asyncio.wait_for(asked, 30))[0] == 200
