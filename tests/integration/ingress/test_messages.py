"""``POST /v1/messages``: what a sender can count on."""

import asyncio
import json
import uuid

import aiohttp
import pytest
from tests.integration.ingress.site import Replica, Site, base64_of, message_id, order

from linkspan.kernel.blobs import CLAIM_CHECK_BYTES, BlobStore

pytestmark = pytest.mark.kafka
JSON = {"Content-Type": "application/json"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


async def test_an_accepted_message_is_an_event_in_kafka(client: aiohttp.ClientSession, site: Site) -> None:
    message = order(count=7)
    async with client.post("/v1/messages", json=message) as answer:
        assert answer.status == 202
        assert await answer.json() == {
            "messageId": message_id(message),
            "correlationId": message["metadata"]["correlationId"],
            "queued": True,
        }
    event = (await site.events())[message_id(message)]
    assert event["payload"]["count"] == 7
    assert event["metadata"]["defaulted"] == ["payload.note"]
    record = next(one for one in await site.records() if message_id(message).encode() in dict(one.headers).values())
    headers = dict(record.headers)
    assert record.key == message["payload"]["orderId"].encode()
    assert headers["type"] == b"OrderPlaced"
    assert headers["schema"] == b"1.1.1"
    assert headers["priority"] == b"normal"
    assert len(headers["digest"]) == 8
    assert record.timestamp == int(headers["accepted-at"]) // 1000
    assert int(headers["accepted-seq"]) > 0


async def test_a_uuid_is_one_key_in_whatever_case_it_is_written(client: aiohttp.ClientSession, site: Site) -> None:
    order_id = str(uuid.uuid4())
    sent = [order(order_id.upper(), 1), order(order_id, 2), order(order_id.title(), 3)]
    for message in sent:
        async with client.post("/v1/messages", json=message) as answer:
            assert answer.status == 202
    decode = site.decoder().decode
    read = [(record, decode(record.value)[1]["payload"]) for record in await site.records()]
    mine = [(record, payload) for record, payload in read if payload["orderId"].lower() == order_id]
    assert {record.key for record, _ in mine} == {order_id.encode()}
    assert len({record.partition for record, _ in mine}) == 1
    assert [payload["count"] for _, payload in mine] == [1, 2, 3]
    assert mine[0][1]["orderId"] == order_id.upper(), "the message itself stays as it was sent"


async def test_what_a_sender_leaves_out_is_filled_and_recorded(client: aiohttp.ClientSession, site: Site) -> None:
    message = {"header": {"type": "OrderPlaced"}, "payload": order()["payload"]}
    async with client.post("/v1/messages", json=message) as answer:
        taken = await answer.json()
    event = (await site.events())[taken["messageId"]]
    assert event["header"]["source"] == "shop"
    assert event["header"]["destination"] == "works"
    assert event["header"]["messageType"] == "event"
    assert event["metadata"]["correlationId"] == taken["messageId"]
    assert event["metadata"]["priority"] == "normal"
    assert set(event["metadata"]["defaulted"]) == {
        *(f"header.{name}" for name in ("messageId", "timestamp", "source", "destination", "messageType", "version")),
        *(f"metadata.{name}" for name in ("correlationId", "priority", "retryCount")),
        "payload.note",
    }


async def test_all_faults_are_named_at_once(client: aiohttp.ClientSession) -> None:
    message = order(count="many")
    del message["payload"]["orderId"]
    message["header"] |= {"messageId": "no", "destination": "moon", "extra": 1}
    message["metadata"]["priority"] = "urgent"
    async with client.post("/v1/messages", json=message, headers={"X-Correlation-ID": "no"}) as answer:
        assert answer.status == 400
        assert answer.content_type == "application/problem+json"
        problem = await answer.json()
    assert {fault["field"] for fault in problem["errors"]} == {
        "X-Correlation-ID",
        "header.messageId",
        "header.destination",
        "header.extra",
        "metadata.priority",
        "payload.orderId",
        "payload.count",
    }


@pytest.mark.parametrize(
    ("header", "field"),
    [({"type": "Nothing"}, "header.type"), ({"source": "works"}, "header.source"), ({}, "header.type")],
)
async def test_a_message_of_no_flow_is_refused(client: aiohttp.ClientSession, header: dict, field: str) -> None:
    message = order()
    message["header"] = message["header"] | header if header else {}
    async with client.post("/v1/messages", json=message) as answer:
        problem = await answer.json()
    assert answer.status == 400
    assert field in [fault["field"] for fault in problem["errors"]]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"header": NaN}',
        b'{"header": {"type": "\xff"}}',
        b"[" * 200_000,
        b'{"header": ' * 50_000,
        b'{"header": {"type": "OrderPlaced", "type": "OrderPlaced"}, "payload": {}}',
        b'{"header": {"type": "\\ud800"}}',
        b'{"header": {"type": "OrderPlaced"}, "payload": 1e999}',
    ],
)
async def test_what_is_not_json_is_a_400(client: aiohttp.ClientSession, body: bytes) -> None:
    async with client.post("/v1/messages", data=body, headers=JSON) as answer:
        assert answer.status == 400, await answer.text()
        assert (await answer.json())["type"] == "/problems/malformed"


async def test_other_media_types_methods_and_paths_are_problems(client: aiohttp.ClientSession) -> None:
    for request, status in (
        (client.post("/v1/messages", data=b"{}", headers={"Content-Type": "text/plain"}), 415),
        (client.get("/v1/messages"), 405),
        (client.get("/v2"), 404),
        (client.post("/v1/messages", data=b"{}", headers={**JSON, "Content-Encoding": "br"}), 415),
    ):
        async with request as answer:
            assert answer.status == status
            assert answer.content_type == "application/problem+json"


async def test_a_body_above_the_limit_is_refused_announced_or_streamed(
    client: aiohttp.ClientSession, started: Replica
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", started.port)
    head = "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"
    writer.write(head.format(5 * 1024 * 1024).encode())  # alone: who writes on is cut off, and may miss the answer
    assert (await reader.readline()).startswith(b"HTTP/1.1 413")
    writer.close()

    async def stream():  # type: ignore[no-untyped-def]
        for _ in range(80):
            yield b" " * 65536

    try:
        async with client.post("/v1/messages", data=stream(), headers=JSON) as answer:
            assert answer.status == 413
    except aiohttp.ClientError:
        pass  # the connection was closed before the rest of the body was written


async def test_ids_and_trace_of_the_caller_are_kept(client: aiohttp.ClientSession, site: Site) -> None:
    correlation = str(uuid.uuid4())
    message = order()
    del message["metadata"]
    sent = {
        "X-Request-ID": "req-17",
        "X-Correlation-ID": correlation.upper(),
        "traceparent": f"00-{TRACE}-00f067aa0ba902b7-00",
    }
    async with client.post("/v1/messages", json=message, headers=sent) as answer:
        assert answer.headers["X-Request-ID"] == "req-17"
        assert answer.headers["X-Correlation-ID"] == correlation
    record = next(one for one in await site.records() if message_id(message).encode() in dict(one.headers).values())
    assert dict(record.headers)["correlation-id"].decode() == correlation
    assert dict(record.headers)["traceparent"].decode().split("-")[1] == TRACE
    async with client.post("/v1/messages", data=b"{", headers={**JSON, "X-Request-ID": "has a space"}) as answer:
        assert uuid.UUID(answer.headers["X-Request-ID"])
        assert uuid.UUID(answer.headers["X-Correlation-ID"])


async def test_the_same_message_again_is_the_earlier_acceptance(client: aiohttp.ClientSession, site: Site) -> None:
    message = order()
    answers = []
    for _ in range(2):
        async with client.post("/v1/messages", json=message) as answer:
            assert answer.status == 202
            answers.append(await answer.json())
    assert answers[1] == {**answers[0], "duplicate": True}
    ids = [dict(record.headers)["message-id"].decode() for record in await site.records()]
    assert ids.count(message_id(message)) == 1


async def test_the_same_id_with_another_payload_is_a_conflict(client: aiohttp.ClientSession) -> None:
    message = order(count=1)
    async with client.post("/v1/messages", json=message) as answer:
        assert answer.status == 202
    message["payload"]["count"] = 2
    async with client.post("/v1/messages", json=message) as answer:
        assert answer.status == 409
        assert answer.content_type == "application/problem+json"


async def test_large_content_lies_in_the_blob_store_before_the_event(client: aiohttp.ClientSession, site: Site) -> None:
    content = bytes(range(256)) * (CLAIM_CHECK_BYTES // 256) + b"!"
    large = order(drawing=base64_of(content), metadata={"mediaType": "image/png"})
    small = order(drawing=base64_of(content[:-1]))
    for message in (large, small):
        async with client.post("/v1/messages", json=message) as answer:
            assert answer.status == 202
    events = await site.events()
    assert events[message_id(small)]["payload"]["drawing"] == content[:-1]
    reference = events[message_id(large)]["payload"]["drawing"]
    assert reference["mediaType"] == "image/png"
    assert reference["size"] == len(content)
    assert await BlobStore(str(site.blobs)).get(reference) == content


async def test_an_event_that_kafka_would_not_take_is_a_413(client: aiohttp.ClientSession) -> None:
    async with client.post("/v1/messages", json=order(note="x" * 1_100_000)) as answer:
        assert answer.status == 413
        assert "1048576" in (await answer.json())["detail"]


async def test_messages_of_one_key_keep_their_order(
    client: aiohttp.ClientSession, started: Replica, site: Site
) -> None:
    order_id = str(uuid.uuid4())
    bodies = [json.dumps(order(order_id, count)).encode() for count in range(60)]
    reader, writer = await asyncio.open_connection("127.0.0.1", started.port)
    head = "POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"
    writer.write(b"".join(head.format(len(body)).encode() + body for body in bodies))
    for _ in bodies:
        head_of_answer = await reader.readuntil(b"\r\n\r\n")
        assert head_of_answer.startswith(b"HTTP/1.1 202")
        await reader.readexactly(int(head_of_answer.rpartition(b"content-length: ")[2]))
    writer.close()
    decoder = site.decoder()
    counts = [
        decoder.decode(record.value)[1]["payload"]["count"]
        for record in await site.records()
        if record.key == order_id.encode()
    ]
    assert counts == list(range(60))


async def test_the_documentation_has_examples_that_are_taken(client: aiohttp.ClientSession) -> None:
    async with client.get("/docs") as answer:
        assert answer.status == 200
    async with client.get("/openapi.json") as answer:
        document = await answer.json()
    content = document["paths"]["/v1/messages"]["post"]["requestBody"]["content"]["application/json"]
    for example in content["examples"].values():
        async with client.post("/v1/messages", json=example["value"]) as answer:
            assert answer.status in (202, 409), await answer.text()


async def test_health_names_each_part_that_is_not_well(client: aiohttp.ClientSession) -> None:
    async with client.get("/ready") as answer:
        assert answer.status == 200
    async with client.get("/health") as answer:
        assert answer.status == 503
        checks = (await answer.json())["checks"]
    assert checks["messageQueue"]["healthy"]
    assert not checks["systemA"]["healthy"]
    assert not checks["systemB"]["healthy"]


async def counted(client: aiohttp.ClientSession) -> dict[str, float]:
    async with client.get("/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line[:1] != "#"}


async def test_metrics_say_what_was_accepted_appended_and_known_already(client: aiohttp.ClientSession) -> None:
    message = order()
    before = await counted(client)
    for _ in range(3):
        async with client.post("/v1/messages", json=message) as answer:
            assert answer.status == 202
    after = await counted(client)
    flow = message_flow(after)
    rose = {
        name: after[f"linkspan_{name}{flow}"] - before.get(f"linkspan_{name}{flow}", 0)
        for name in ("accepted_total", "appended_total", "known_total", "message_bytes_count")
    }
    assert rose == {"accepted_total": 1, "appended_total": 1, "known_total": 2, "message_bytes_count": 1}


def message_flow(names: dict[str, float]) -> str:
    (found,) = {name.removeprefix("linkspan_known_total") for name in names if name.startswith("linkspan_known_total{")}
    return found
