"""System B over its WebSocket."""

from __future__ import annotations

import asyncio
import copy
import json
import signal
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
from fastavro.validation import validate
from tests.integration.reference.reference_service import API_KEY, Service
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from linkspan.kernel.schemas import SchemaCatalog, packaged_schemas
from linkspan.reference.analysis.protocol import SUBMIT, TRACEPARENT

PROTOCOL = Subprotocol("linkspan.analysis.v1")


def submit(plan: str, sequence: int, **more: Any) -> dict[str, Any]:
    frame = copy.deepcopy(SUBMIT)
    frame["id"] = frame["body"]["header"]["messageId"] = str(uuid.uuid4())
    frame["body"]["metadata"]["correlationId"] = str(uuid.uuid4())
    frame["body"]["payload"]["planId"] = plan
    frame["sequence"] = sequence
    return {**frame, **more}


@asynccontextmanager
async def opened(service: Service, path: str, key: str = API_KEY) -> AsyncIterator[ClientConnection]:
    url = f"ws://127.0.0.1:{service.port}{path}"
    async with connect(url, subprotocols=[PROTOCOL], additional_headers={"X-API-Key": key}, max_size=None) as socket:
        yield socket


async def ask(socket: ClientConnection, frame: Any) -> dict[str, Any]:
    await socket.send(frame if isinstance(frame, str) else json.dumps(frame))
    return await answer(socket)


async def answer(socket: ClientConnection) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), 60))
    return frame


async def event_of(socket: ClientConnection, plan: str) -> dict[str, Any]:
    """The next one of this plan; what an earlier test left is acknowledged."""
    while (event := await answer(socket))["body"]["payload"]["planId"] != plan:
        await socket.send(json.dumps({"kind": "ack", "id": event["id"]}))
    return event


async def events_of(socket: ClientConnection, plans: set[str], count: int) -> list[dict[str, Any]]:
    """Acknowledges whatever comes until ``count`` different events of these plans were seen; repeats are left out."""
    seen: dict[str, dict[str, Any]] = {}
    async with asyncio.timeout(30):
        while len(seen) < count:
            event = json.loads(await socket.recv())
            if event["body"]["payload"]["planId"] in plans:
                seen.setdefault(event["id"], event)
            await socket.send(json.dumps({"kind": "ack", "id": event["id"]}))
    return list(seen.values())


async def events_status(session: aiohttp.ClientSession, service: Service) -> dict[str, Any]:
    async with session.get(f"{service.url}/v1/queue/status", headers={"X-API-Key": API_KEY}) as response:
        status: dict[str, Any] = (await response.json())["events"]
        return status


async def received(session: aiohttp.ClientSession, service: Service, *plans: str) -> list[dict[str, Any]]:
    params = {"limit": "10000"}
    async with session.get(f"{service.url}/v1/received", params=params, headers={"X-API-Key": API_KEY}) as response:
        assert response.status == 200
        return [item for item in (await response.json())["items"] if item["key"] in plans]


async def test_the_handshake_wants_the_key_and_the_subprotocol(
    analysis: Service, session: aiohttp.ClientSession
) -> None:
    for path in ("/v1/queue", "/v1/events"):
        with pytest.raises(InvalidStatus) as refused:
            async with opened(analysis, path, key="wrong"):
                pass
        assert refused.value.response.status_code == 401
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"ws://127.0.0.1:{analysis.port}{path}", additional_headers={"X-API-Key": API_KEY}):
                pass
        assert refused.value.response.status_code == 400
    async with session.get(f"{analysis.url}/v1/received") as response:
        assert response.status == 401


async def test_a_submitted_plan_is_answered_by_an_event_that_carries_its_correlation_and_trace(
    analysis: Service,
) -> None:
    frame = submit(str(uuid.uuid4()), 1)
    async with opened(analysis, "/v1/queue") as queue, opened(analysis, "/v1/events") as events:
        assert await ask(queue, frame) == {"kind": "ack", "id": frame["id"]}
        (event,) = await events_of(events, {frame["body"]["payload"]["planId"]}, 1)
    message = event["body"]
    assert event["kind"] == "event"
    assert event["traceparent"][:35] == TRACEPARENT[:35]
    assert message["header"]["messageId"] == event["id"]
    assert (message["header"]["source"], message["header"]["type"]) == ("analysis", "AnalysisComplete")
    assert message["metadata"]["correlationId"] == frame["body"]["metadata"]["correlationId"]
    assert message["payload"]["results"]["totalMass"] == pytest.approx(6.4375 * 2500)
    assert validate(
        message["payload"], SchemaCatalog(packaged_schemas()).latest("plans", "AnalysisComplete").definition
    )


async def test_a_bad_frame_is_refused_with_every_fault_and_leaves_the_connection_usable(analysis: Service) -> None:
    bad = submit("not-a-uuid", -1)
    del bad["body"]["payload"]["attributes"]
    bad["body"]["payload"]["dimensions"]["unitConfidence"] = "sure"
    bad["body"]["metadata"]["correlationId"] = "x"
    async with opened(analysis, "/v1/queue") as queue:
        nack = await ask(queue, bad)
        assert (nack["kind"], nack["id"], nack["reason"]) == ("nack", bad["id"], "invalid")
        assert {error["field"] for error in nack["errors"]} == {
            "sequence",
            "body.payload.planId",
            "body.payload.attributes",
            "body.payload.dimensions.unitConfidence",
            "body.metadata.correlationId",
        }
        for garbage in ("{", "[]", '{"kind": "hello"}'):
            assert (await ask(queue, garbage))["reason"] == "invalid"
        assert (await ask(queue, submit(str(uuid.uuid4()), 1)))["kind"] == "ack"


async def test_a_repeat_is_acknowledged_once_queued_and_an_older_sequence_is_refused(
    analysis: Service, session: aiohttp.ClientSession
) -> None:
    plan = str(uuid.uuid4())
    first, second, older = submit(plan, 10), submit(plan, 20), submit(plan, 15)
    async with opened(analysis, "/v1/queue") as queue:
        assert (await ask(queue, first))["kind"] == "ack"
        assert (await ask(queue, second))["kind"] == "ack"
        assert (await ask(queue, {**first, "redelivery": True, "replay": "plan-1"}))["kind"] == "ack"
        other = copy.deepcopy(first)
        other["body"]["payload"]["id"] = "T-2"
        assert (await ask(queue, other))["errors"] == [{"field": "id", "error": "was used for other content"}]
        nack = await ask(queue, older)
        assert (nack["reason"], nack["errors"][0]["field"]) == ("invalid", "sequence")
    items = await received(session, analysis, plan)
    assert [item["result"] for item in items] == ["queued", "queued", "repeat", "refused", "refused"]
    assert [item["redelivery"] for item in items] == [False, False, True, False, False]
    assert [item["replay"] for item in items] == [None, None, "plan-1", None, None]
    async with opened(analysis, "/v1/events") as events:
        assert len(await events_of(events, {plan}, 2)) == 2


async def test_events_of_a_plan_come_in_order_and_the_next_waits_for_the_answer(analysis: Service) -> None:
    plan = str(uuid.uuid4())
    frames = [submit(plan, n) for n in range(1, 6)]
    async with opened(analysis, "/v1/queue") as queue:
        for frame in frames:
            await ask(queue, frame)
    seen: dict[str, str] = {}
    async with opened(analysis, "/v1/events") as events:
        async with asyncio.timeout(60):
            while len(seen) < len(frames):
                event = await answer(events)
                if event["body"]["payload"]["planId"] == plan and event["id"] not in seen:
                    seen[event["id"]] = event["body"]["metadata"]["correlationId"]
                    with suppress(TimeoutError):
                        again = await asyncio.wait_for(events.recv(), 0.2)
                        assert json.loads(again)["id"] == event["id"]
                await events.send(json.dumps({"kind": "ack", "id": event["id"]}))
    assert list(seen.values()) == [frame["body"]["metadata"]["correlationId"] for frame in frames]


async def test_an_unanswered_event_is_sent_again_in_time_and_on_a_new_connection(
    analysis: Service, session: aiohttp.ClientSession
) -> None:
    plan = str(uuid.uuid4())
    async with opened(analysis, "/v1/events") as events, opened(analysis, "/v1/queue") as queue:
        await ask(queue, submit(plan, 1))
        first = await event_of(events, plan)
        assert await event_of(events, plan) == first
    async with opened(analysis, "/v1/events") as events:
        assert await event_of(events, plan) == first
        async with opened(analysis, "/v1/events") as newer:
            assert await event_of(newer, plan) == first
            errors = [{"field": "payload", "error": "no"}]
            await newer.send(json.dumps({"kind": "nack", "id": first["id"], "errors": errors}))
            async with asyncio.timeout(60):
                while (status := await events_status(session, analysis))["waiting"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            with suppress(TimeoutError):  # what was on its way when the answer came
                while True:
                    assert json.loads(await asyncio.wait_for(newer.recv(), 0.5)) == first
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(newer.recv(), 1.5)
    assert status["refusals"][0]["errors"] == errors


async def test_after_kill_9_all_that_was_acknowledged_is_analysed_once_and_in_order(
    analysis: Service, session: aiohttp.ClientSession
) -> None:
    plans = [str(uuid.uuid4()) for _ in range(20)]
    frames = [submit(plans[n % 20], 1 + n // 20) for n in range(1000)]
    acked = await _submit_until_killed(analysis, frames, after=300)
    await asyncio.to_thread(analysis.start)
    assert acked <= {item["id"] for item in await received(session, analysis, *plans)}
    async with opened(analysis, "/v1/queue") as queue, opened(analysis, "/v1/events") as events:
        for frame in frames:
            await queue.send(json.dumps({**frame, "redelivery": True}))
        answers = [await answer(queue) for _ in frames]
        assert {frame["kind"] for frame in answers} == {"ack"}
        seen = await events_of(events, set(plans), len(frames))
    results = [(item["id"], item["result"]) for item in await received(session, analysis, *plans)]
    assert sorted(item for item, result in results if result == "queued") == sorted(frame["id"] for frame in frames)
    assert acked <= {item for item, result in results if result == "repeat"}
    made = {plan: [] for plan in plans}  # type: dict[str, list[str]]
    for event in seen:
        made[event["body"]["payload"]["planId"]].append(event["body"]["metadata"]["correlationId"])
    for n, plan in enumerate(plans):
        assert made[plan] == [frame["body"]["metadata"]["correlationId"] for frame in frames[n::20]]


async def _submit_until_killed(service: Service, frames: list[dict[str, Any]], after: int) -> set[str]:
    """The ids that were acknowledged, more than ``after``."""
    acked: set[str] = set()
    async with opened(service, "/v1/queue") as queue:
        sends = (queue.send(json.dumps(frame)) for frame in frames[:-100])  # so that not all can be acknowledged
        sending = asyncio.gather(*sends, return_exceptions=True)
        with suppress(ConnectionClosed):
            while True:
                acked.add((await answer(queue))["id"])
                if len(acked) == after:
                    service.end(signal.SIGKILL)
    await sending
    assert after <= len(acked) < len(frames)
    return acked


async def test_the_page_shows_the_protocol_with_real_frames(analysis: Service, session: aiohttp.ClientSession) -> None:
    async with session.get(analysis.url + "/") as response:
        page = await response.text()
    assert "&quot;kind&quot;: &quot;submit&quot;" in page
    assert "AnalysisComplete" in page
    for path in ("/health", "/live", "/ready", "/metrics", "/docs", "/openapi.json"):
        async with session.get(analysis.url + path) as response:
            assert response.status == 200, path


async def test_a_position_that_cannot_be_is_named(analysis: Service, session: aiohttp.ClientSession) -> None:
    params, headers = {"after": str(2**63)}, {"X-API-Key": API_KEY}
    async with session.get(f"{analysis.url}/v1/received", params=params, headers=headers) as answer:
        assert answer.content_type == "application/problem+json"
        problem = await answer.json()
    assert (answer.status, [error["field"] for error in problem["errors"]]) == (422, ["query.after"])
