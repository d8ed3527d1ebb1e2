"""System A over HTTP, against an ingress that is a real server in the test."""

from __future__ import annotations

import asyncio
import base64
import signal
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.integration.reference.reference_service import SECRET, Service
from tests.integration.reference.taking_ingress import Ingress

from linkspan.kernel.schemas import SchemaCatalog, packaged_schemas

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SAID = {"identifier": "T-1", "title": "Tower <A>", "category": "residential", "fileName": "tower.ifc"}


@pytest.fixture
async def ingress(ingress_port: int) -> AsyncIterator[Ingress]:
    taken = Ingress()
    app = web.Application()
    app.router.add_post("/v1/messages", taken.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", ingress_port).start()
    yield taken
    await runner.cleanup()


def message(**payload: Any) -> dict[str, Any]:
    header = {"messageId": str(uuid.uuid4()), "source": "linkspan", "messageType": "event", "type": "AnalysisView"}
    return {"header": header, "payload": payload, "metadata": {"correlationId": str(uuid.uuid4())}}


def view(title: str = "Tower", mass: float = 10.0) -> dict[str, Any]:
    return {
        "identifier": "T-1",
        "category": "residential",
        "title": title,
        "verdict": "complete",
        "figures": [{"label": "Mass", "value": mass, "unit": "kg"}],
        "recommendations": [{"code": "c", "severity": "info", "text": "Look <here>."}],
    }


async def test_a_token_is_given_for_the_right_secret_in_form_or_basic_and_errors_follow_rfc_6749(
    plan_manager: Service, session: aiohttp.ClientSession
) -> None:
    a = plan_manager
    url = f"{a.url}/oauth/token"
    basic = aiohttp.encode_basic_auth("linkspan", SECRET)
    async with session.post(url, data={"grant_type": "client_credentials"}, headers={"Authorization": basic}) as answer:
        assert answer.status == 200
        assert (await answer.json())["token_type"] == "Bearer"
        assert answer.headers["Cache-Control"] == "no-store"
    good = {"client_id": "linkspan", "client_secret": SECRET, "grant_type": "client_credentials"}
    for form, status, error in (
        ({**good, "client_secret": "wrong"}, 401, "invalid_client"),
        ({**good, "grant_type": "password"}, 400, "unsupported_grant_type"),
        ({**good, "scope": "everything"}, 400, "invalid_scope"),
        ({"client_id": "linkspan"}, 400, "invalid_request"),
    ):
        async with session.post(url, data=form) as answer:
            assert (answer.status, (await answer.json())["error"]) == (status, error)


async def test_the_api_wants_a_token_that_is_ours_not_expired_and_of_the_scope(
    plan_manager: Service, forgetful_plan_manager: Service, session: aiohttp.ClientSession, token: Any
) -> None:
    a, forgetful = plan_manager, forgetful_plan_manager
    async with session.get(f"{a.url}/v1/plans", headers=await token(a)) as answer:
        assert answer.status == 200
    async with session.get(f"{a.url}/v1/plans", headers=await token(a, scope="plans.write")) as answer:
        assert answer.status == 403
        assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]
    expired = await token(forgetful)
    await asyncio.sleep(2.1)
    for headers in ({}, expired, await token(a), {"Authorization": "Bearer e30.e30.e30"}):
        async with session.get(f"{forgetful.url}/v1/plans", headers=headers) as answer:
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert answer.content_type == "application/problem+json"
            assert ("has expired" in (await answer.json())["title"]) == (headers is expired)


async def test_an_upload_is_told_to_ingress_with_the_same_id_until_it_answers(
    plan_manager: Service, ingress: Ingress, session: aiohttp.ClientSession, token: Any
) -> None:
    a = plan_manager
    plan, correlation = str(uuid.uuid4()), str(uuid.uuid4())
    ingress.answers[plan] = [web.Response(status=503, headers={"Retry-After": "2"}), web.Response(status=500)]
    headers = {**await token(a), "X-Correlation-ID": correlation, "traceparent": TRACEPARENT}
    query = [*SAID.items(), ("relationship", f"part-of:{uuid.uuid4()}"), ("priority", "high")]
    async with session.put(f"{a.url}/v1/plans/{plan}", params=query, data=b"ISO-10303-21;", headers=headers) as answer:
        assert answer.status == 201
    await ingress.wait_for(3, plan)
    refused, again, _ = ingress.times[plan]
    assert again - refused > 1.8
    (_, first, _), (_, second, _), (_, sent, sent_headers) = ingress.of(plan)
    assert first == second == sent
    assert base64.b64decode(sent["payload"]["content"]) == b"ISO-10303-21;"
    assert sent["payload"]["metadata"]["mediaType"] == "application/x-step"
    assert sent["metadata"] == {"correlationId": correlation, "priority": "high", "retryCount": 0}
    assert sent_headers["X-Correlation-ID"] == correlation
    assert sent_headers["traceparent"][:35] == TRACEPARENT[:35]
    _fits("PlanUploaded", sent["payload"] | {"content": b""})
    await _state(session, a, plan, headers, "accepted")


async def test_uploads_of_one_plan_are_told_in_order_and_a_slow_plan_holds_back_no_other(
    plan_manager: Service, ingress: Ingress, session: aiohttp.ClientSession, token: Any
) -> None:
    a = plan_manager
    slow, quick = str(uuid.uuid4()), str(uuid.uuid4())
    ingress.slow_for = slow
    headers = await token(a)
    for plan in (slow, slow, quick):
        async with session.put(f"{a.url}/v1/plans/{plan}", params=SAID, data=b"x", headers=headers) as answer:
            assert answer.status in {200, 201}
    await ingress.wait_for(1, quick)
    ingress.goes_on.set()
    await ingress.wait_for(3, slow, quick)
    assert [plan for plan, _, _ in ingress.of(slow, quick)] == [quick, slow, slow]
    async with session.get(f"{a.url}/v1/changes", params={"limit": "1000"}, headers=headers) as answer:
        ids = [item["messageId"] for item in (await answer.json())["items"] if item["payload"]["planId"] == slow]
    assert ids == [body["header"]["messageId"] for _, body, _ in ingress.of(slow)]


async def test_an_upload_that_was_acknowledged_is_told_after_kill_9(
    plan_manager: Service, ingress: Ingress, session: aiohttp.ClientSession, token: Any
) -> None:
    a = plan_manager
    plan, headers = str(uuid.uuid4()), await token(a)
    ingress.answers[plan] = [web.Response(status=503, headers={"Retry-After": "60"})]
    async with session.put(f"{a.url}/v1/plans/{plan}", params=SAID, data=b"x", headers=headers) as answer:
        assert answer.status == 201
        message_id = (await answer.json())["messageId"]
    await ingress.wait_for(1, plan)
    a.end(signal.SIGKILL)
    await asyncio.to_thread(a.start)
    await ingress.wait_for(2, plan)
    assert {body["header"]["messageId"] for _, body, _ in ingress.of(plan)} == {message_id}
    await _state(session, a, plan, headers, "accepted")  # the token of before is still good: the key is kept


async def test_a_refusal_by_ingress_is_on_the_plans_page_with_its_reason(
    plan_manager: Service, ingress: Ingress, session: aiohttp.ClientSession, token: Any
) -> None:
    problem = {"type": "t", "title": "Not valid", "errors": [{"field": "payload.content", "error": "<too big>"}]}
    a = plan_manager
    plan, headers = str(uuid.uuid4()), await token(a)
    ingress.answers[plan] = [web.json_response(problem, status=422)]
    async with session.put(f"{a.url}/v1/plans/{plan}", params=SAID, data=b"x", headers=headers):
        pass
    await _state(session, a, plan, headers, "refused")
    async with session.get(f"{a.url}/plans/{plan}") as answer:
        page = await answer.text()
    assert "payload.content: &lt;too big&gt;" in page
    assert "Tower &lt;A&gt;" in page
    assert len(ingress.of(plan)) == 1


async def test_a_result_is_stored_once_and_an_older_one_is_refused_and_all_of_it_is_recorded(
    plan_manager: Service, session: aiohttp.ClientSession, token: Any
) -> None:
    a = plan_manager
    plan, headers = str(uuid.uuid4()), await token(a)
    first, second, third = (message(**view(mass=mass)) for mass in (1.0, 2.0, 3.0))

    async def put(body: dict[str, Any], key: str, sequence: int, **more: str) -> tuple[int, str | None]:
        sent = {**headers, "Idempotency-Key": key, "Linkspan-Sequence": str(sequence), **more}
        url = f"{a.url}/v1/plans/{plan}/analyses/{uuid.uuid5(uuid.NAMESPACE_URL, key)}"
        async with session.put(url, json=body, headers=sent) as answer:
            return answer.status, (await answer.json()).get("type")

    assert await put(first, "k1", 10, traceparent=TRACEPARENT) == (201, None)
    assert await put(first, "k1", 10, **{"Linkspan-Redelivery": "possible", "Linkspan-Replay": "plan-1"}) == (200, None)
    assert await put(second, "k1", 10) == (422, "/problems/idempotency-key-reused")
    assert await put(second, "k2", 20) == (201, None)
    assert await put(third, "k3", 15) == (409, "/problems/older-sequence")
    assert await put(first, "k1", 10) == (200, None)
    bad = message(**{**view(), "verdict": None, "figures": [{"value": "x"}]})
    assert (await put(bad, "k4", 30))[0] == 422
    async with session.get(f"{a.url}/v1/received", headers=headers) as answer:
        items = [item for item in (await answer.json())["items"] if item["key"] == plan]
    assert [item["result"] for item in items] == [
        *("stored", "repeat", "refused", "stored", "refused", "repeat", "refused")
    ]
    assert [item["redelivery"] for item in items[:3]] == [False, True, False]
    assert [item["replay"] for item in items[:3]] == [None, "plan-1", None]
    assert items[0]["traceparent"] == TRACEPARENT
    async with session.get(f"{a.url}/v1/plans/{plan}", headers=headers) as answer:
        assert (await answer.json())["analysis"]["figures"][0]["value"] == 2.0


async def test_a_bad_result_is_refused_with_every_fault(
    plan_manager: Service, session: aiohttp.ClientSession, token: Any
) -> None:
    a = plan_manager
    url = f"{a.url}/v1/plans/{uuid.uuid4()}/analyses/{uuid.uuid4()}"
    bad = message(**{**view(), "verdict": None, "figures": [{"value": "x"}]})
    del bad["payload"]["title"]
    async with session.put(url, json=bad, headers=await token(a)) as answer:
        fields = {error["field"] for error in (await answer.json())["errors"]}
    assert {"payload.title", "payload.verdict", "payload.figures.0.label"} <= fields


async def test_an_answer_and_a_notice_reach_the_page_of_their_plan(
    plan_manager: Service, ingress: Ingress, session: aiohttp.ClientSession, token: Any
) -> None:
    a = plan_manager
    plan, headers = str(uuid.uuid4()), await token(a)
    async with session.put(f"{a.url}/v1/plans/{plan}", params=SAID, data=b"%PDF-1.7", headers=headers) as answer:
        uploaded = await answer.json()
    await _state(session, a, plan, headers, "accepted")
    notice = {"planId": plan, "messageId": uploaded["messageId"], "class": "poison", "reason": "a PDF is no plan"}
    for status in (201, 200):
        url = f"{a.url}/v1/plans/{plan}/refusals/{uploaded['messageId']}"
        async with session.put(url, json=message(**notice), headers=headers) as answer:
            assert answer.status == status
    await _state(session, a, plan, headers, "refused")
    async with session.get(f"{a.url}/plans/{plan}") as answer:
        assert "a PDF is no plan" in await answer.text()
    answered = message(**view())
    answered["metadata"]["correlationId"] = uploaded["correlationId"]
    _fits("AnalysisView", answered["payload"])
    async with session.put(
        f"{a.url}/v1/plans/{plan}/analyses/{uuid.uuid4()}", json=answered, headers=headers
    ) as answer:
        assert answer.status == 201
    await _state(session, a, plan, headers, "analysed")
    async with session.get(f"{a.url}/plans/{plan}") as answer:
        assert "Look &lt;here&gt;." in await answer.text()


async def test_the_change_feed_gives_every_revision_once_in_order_with_its_content(
    plan_manager: Service, session: aiohttp.ClientSession, token: Any
) -> None:
    a = plan_manager
    plan, headers = str(uuid.uuid4()), await token(a)
    async with session.get(f"{a.url}/v1/changes", params={"limit": "1000"}, headers=headers) as answer:
        after = (await answer.json())["next"]
    for content in (b"one", b"two", b"one"):
        async with session.put(f"{a.url}/v1/plans/{plan}", params=SAID, data=content, headers=headers):
            pass
    seen = []
    while True:
        params = {"after": str(after), "limit": "2", "content": "true"}
        async with session.get(f"{a.url}/v1/changes", params=params, headers=headers) as answer:
            page = await answer.json()
        if not page["items"]:
            break
        seen += [base64.b64decode(item["payload"]["content"]) for item in page["items"]]
        assert page["next"] > after
        after = page["next"]
    assert seen == [b"one", b"two", b"one"]


async def test_a_bad_upload_names_every_field(
    plan_manager: Service, session: aiohttp.ClientSession, token: Any
) -> None:
    a = plan_manager
    headers = {**await token(a), "X-Correlation-ID": "not-a-uuid"}
    async with session.put(f"{a.url}/v1/plans/7", params={"colour": "red"}, data=b"x", headers=headers) as answer:
        fields = {error["field"] for error in (await answer.json())["errors"]}
        assert answer.status == 422
    assert {"path.plan_id", "query.identifier", "query.fileName", "query.colour", "header.X-Correlation-ID"} <= fields
    for path in ("received", "changes"):
        params = {"after": str(2**63)}
        async with session.get(f"{a.url}/v1/{path}", params=params, headers=await token(a)) as answer:
            assert [error["field"] for error in (await answer.json())["errors"]] == ["query.after"]


async def _state(session: aiohttp.ClientSession, a: Any, plan: str, headers: dict[str, str], wanted: str) -> None:
    async with asyncio.timeout(60):
        while True:
            async with session.get(f"{a.url}/v1/plans/{plan}", headers=headers) as answer:
                if (await answer.json()).get("state") == wanted:
                    return
            await asyncio.sleep(0.05)


def _fits(name: str, payload: dict[str, Any]) -> None:
    from fastavro.validation import validate

    definition = SchemaCatalog(packaged_schemas()).latest("plans", name).definition

    assert validate(payload, definition)
