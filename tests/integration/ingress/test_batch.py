"""``POST /v1/messages:batch``: each line has a result of its own."""

import json
import uuid

import aiohttp
import pytest
from tests.integration.ingress.site import Site, base64_of, message_id, order

pytestmark = pytest.mark.kafka
NDJSON = {"Content-Type": "application/x-ndjson"}


async def test_a_faulty_line_does_not_touch_the_others(client: aiohttp.ClientSession, site: Site) -> None:
    first, last = order(), order()
    body = "\n".join([json.dumps(first), '{"header": {"type": "OrderPlaced"}}', "", "{", json.dumps(last)]).encode()
    async with client.post("/v1/messages:batch", data=body, headers=NDJSON) as answer:
        assert answer.status == 207
        results = (await answer.json())["results"]
    assert [(result["line"], result["status"]) for result in results] == [(1, 202), (2, 400), (4, 400), (5, 202)]
    assert results[0]["messageId"] == message_id(first)
    assert results[1]["errors"] == [{"field": "payload", "error": "required field missing"}]
    assert results[2]["type"] == "/problems/malformed"
    assert {message_id(first), message_id(last)} <= (await site.events()).keys()


async def test_a_json_array_is_a_batch_too_and_keeps_the_order_of_a_key(
    client: aiohttp.ClientSession, site: Site
) -> None:
    order_id = str(uuid.uuid4())
    large = base64_of(b"x" * 300_000)
    batch = [order(order_id, count, drawing=large if count == 3 else None) for count in range(50)]
    async with client.post("/v1/messages:batch", json=batch) as answer:
        assert answer.status == 202
        assert len((await answer.json())["results"]) == 50
    decoder = site.decoder()
    mine = [decoder.decode(one.value)[1] for one in await site.records() if one.key == order_id.encode()]
    assert [event["payload"]["count"] for event in mine] == list(range(50))


async def test_a_batch_of_faulty_lines_is_a_400(client: aiohttp.ClientSession) -> None:
    async with client.post("/v1/messages:batch", json=[{}, 1]) as answer:
        assert answer.status == 400
        assert [result["line"] for result in (await answer.json())["results"]] == [1, 2]


@pytest.mark.parametrize(
    ("body", "status"), [(b"{}", 400), (b"[", 400), (b"[]", 400), (b"[1" + b",1" * 10_000 + b"]", 413)]
)
async def test_what_is_no_batch_is_refused_as_a_whole(client: aiohttp.ClientSession, body: bytes, status: int) -> None:
    async with client.post("/v1/messages:batch", data=body, headers={"Content-Type": "application/json"}) as answer:
        assert answer.status == status
        assert answer.content_type == "application/problem+json"


async def test_a_repeated_line_is_appended_once(client: aiohttp.ClientSession, site: Site) -> None:
    message = order()
    async with client.post("/v1/messages:batch", json=[message, message]) as answer:
        results = (await answer.json())["results"]
    assert [result.get("duplicate", False) for result in results] == [False, True]
    ids = [dict(record.headers)["message-id"].decode() for record in await site.records()]
    assert ids.count(message_id(message)) == 1
