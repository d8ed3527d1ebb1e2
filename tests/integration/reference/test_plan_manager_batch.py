"""System A's batch endpoint: each message is stored as if it had come alone."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import aiohttp
from tests.integration.reference.reference_service import SECRET, Service
from tests.integration.reference.test_plan_manager import TRACEPARENT, message, view

from linkspan.egress.deliver.adapter import Delivery
from linkspan.egress.deliver.rest_batch import BatchAdapter
from linkspan.kernel.spec import Deliver, System


def item(plan: str, number: int, **changes: Any) -> dict[str, Any]:
    made = {
        "messageId": f"{plan}-{number}",
        "path": f"/v1/plans/{plan}/analyses/{uuid.uuid5(uuid.NAMESPACE_URL, str(number))}",
        "sequence": number,
        "redelivery": False,
        "traceparent": TRACEPARENT,
        "body": message(**view(mass=float(number))),
    }
    return made | changes


async def test_one_bad_message_keeps_no_other_out_and_each_has_its_idempotency_key_and_sequence(
    plan_manager: Service, session: aiohttp.ClientSession, token: Any
) -> None:
    plans = [str(uuid.uuid4()) for _ in range(4)]
    headers = await token(plan_manager)

    async def put(*items: Any) -> list[dict[str, Any]]:
        url = f"{plan_manager.url}/v1/results:batch"
        async with session.post(url, json={"messages": items}, headers=headers) as answer:
            assert answer.status == 207, await answer.text()
            return list((await answer.json())["results"])

    bad = item(plans[1], 5, body=message(**{**view(), "verdict": None}))
    nowhere = item(plans[2], 5, path="/v1/plans/7")
    first = await put(item(plans[0], 5), bad, nowhere, item(plans[3], 5), {"messageId": "x", "sequence": -1}, 7)
    assert [one["status"] for one in first] == [201, 422, 404, 201, 422, 422]
    assert [one["messageId"] for one in first] == [*(f"{plan}-5" for plan in plans), "x", None]
    assert {"payload.verdict"} == {error["field"] for error in first[1]["errors"]}
    again = await put(item(plans[0], 5, redelivery=True), item(plans[3], 4), item(plans[3], 6))
    assert [(one["status"], one.get("type")) for one in again] == [
        (200, None),
        (409, "/problems/older-sequence"),
        (201, None),
    ]
    async with session.get(f"{plan_manager.url}/v1/received", params={"limit": "10000"}, headers=headers) as answer:
        kept = [one for one in (await answer.json())["items"] if one["key"] in plans]
    assert [(one["result"], one["redelivery"]) for one in kept if one["key"] == plans[0]] == [
        ("stored", False),
        ("repeat", True),
    ]


async def test_a_batch_that_is_none_is_refused_with_its_field(
    plan_manager: Service, session: aiohttp.ClientSession, token: Any
) -> None:
    headers = await token(plan_manager)
    url = f"{plan_manager.url}/v1/results:batch"
    for body in ({"messages": []}, {"items": []}):
        async with session.post(url, json=body, headers=headers) as answer:
            assert answer.status == 422
            assert [error["field"] for error in (await answer.json())["errors"]] == ["body.messages"]
    async with session.post(url, json={"messages": [1]}) as answer:
        assert answer.status == 401


async def test_the_adapter_and_the_plan_manager_understand_each_other(
    plan_manager: Service, session: aiohttp.ClientSession, token: Any
) -> None:
    auth = {"oauth2": {"token_url": "/oauth/token", "client_id": "linkspan", "client_secret": SECRET}}
    system = System.model_validate({"kind": "rest", "url": plan_manager.url, "auth": auth})
    deliver = Deliver.model_validate(
        {"path": "/v1/plans/{planId}/analyses/{analysisId}", "batch": {"path": "/v1/results:batch", "size": 20}}
    )
    adapter = BatchAdapter(system, deliver, 2.0)
    await adapter.open()
    plans = [str(uuid.uuid4()) for _ in range(20)]
    answers: dict[str, Any] = {}
    try:
        for number, plan in enumerate(plans):
            body = message(**(view() if number != 7 else view() | {"title": None}))
            values = {"planId": plan, "analysisId": str(uuid.uuid4())}
            sent = Delivery(plan, None, plan, number, False, TRACEPARENT, 1, values, json.dumps(body).encode())
            adapter.submit(sent, lambda one, error: answers.update({one.message_id: error}))
        async with asyncio.timeout(20):
            while len(answers) < len(plans):  # noqa: ASYNC110 - answers come by callback
                await asyncio.sleep(0.01)
    finally:
        await adapter.close()
    assert "payload.title" in str(answers.pop(plans[7]))
    assert set(answers.values()) == {None}
    async with session.get(
        f"{plan_manager.url}/v1/received", params={"limit": "10000"}, headers=await token(plan_manager)
    ) as answer:
        kept = {one["idempotencyKey"]: one for one in (await answer.json())["items"] if one["key"] in plans}
    assert len({one["requestId"] for one in kept.values()}) == 1, "it was one request"
    assert [kept[plan]["sequence"] for plan in plans] == list(range(20))
