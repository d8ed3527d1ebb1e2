"""The short way of ``POST /v1/messages`` and the usual one answer the same, byte for byte but for ids and dates."""

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from tests.integration.ingress.site import Replica, Site, message_id, order, replica

pytestmark = pytest.mark.kafka
_VARYING = re.compile(
    rb"(?<=\r\n)(date|x-request-id): [^\r]+|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
)


def request(body: bytes, *lines: str, version: str = "1.1", chunked: bool = False) -> bytes:
    length = "transfer-encoding: chunked" if chunked else f"content-length: {len(body)}"
    head = [f"POST /v1/messages HTTP/{version}", "host: x", "content-type: application/json", length, *lines]
    sent = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n" if chunked else body
    return "\r\n".join(head).encode() + b"\r\n\r\n" + sent


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> tuple[bytes, bytes]:
        """Head and body."""
        async with asyncio.timeout(60):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            assert length
            return head, await self.reader.readexactly(int(length[1]))

    async def ask(self, raw: bytes) -> tuple[bytes, bytes]:
        self.writer.write(raw)
        return await self.answer()

    async def closed(self) -> bool:
        async with asyncio.timeout(60):
            return await self.reader.read() == b""


async def connected(to: Replica) -> Connection:
    return Connection(*await asyncio.open_connection("127.0.0.1", to.port))


@pytest.fixture
async def connection(client: aiohttp.ClientSession, started: Replica) -> AsyncIterator[Connection]:
    assert not client.closed  # it waited until the replica was ready
    made = await connected(started)
    yield made
    made.writer.close()


def same(answer: tuple[bytes, bytes]) -> tuple[list[bytes], bytes]:
    """Without what differs from request to request; the order of header lines says nothing."""
    head, body = answer
    return sorted(_VARYING.sub(b"", head).split(b"\r\n")), _VARYING.sub(b"", body)


#: Stands for an id that no message had before.
FRESH = b"01980000-0000-7000-8000-00000000f7e5"


def variants() -> dict[str, tuple[bytes, list[str]]]:
    fresh = order()
    fresh["header"]["messageId"] = FRESH.decode()
    known, none = order(), {"header": {"type": "OrderPlaced"}, "payload": order()["payload"]}
    raw, again = json.dumps(fresh).encode(), json.dumps(known).encode()
    return {
        "complete": (raw, []),
        "known from now on": (again, []),
        "known": (again, []),
        "a conflict": (json.dumps(known | {"payload": known["payload"] | {"count": 99}}).encode(), []),
        "what is left out": (json.dumps(none).encode(), [f"x-correlation-id: {uuid.uuid4()}"]),
        "its own request id": (raw, ["X-Request-ID: mine", "prefer: respond-async"]),
        "faults": (json.dumps(order(count="many")).encode(), [f"X-Request-ID: {uuid.uuid4()}"]),
        "no JSON": (b"{", []),
        "nothing": (b"", []),
        "a bad correlation id": (raw, ["X-Correlation-ID: x"]),
        "a compressed body": (raw, ["content-encoding: gzip"]),
        "closed afterwards": (raw, ["connection: close"]),
    }


@pytest.mark.usefixtures("connection")
async def test_both_ways_answer_the_same(started: Replica) -> None:
    for name, (body, lines) in variants().items():
        answers = []
        for chunked in (False, True):
            made = await connected(started)
            sent = body.replace(FRESH, str(uuid.uuid4()).encode())
            answers.append(same(await made.ask(request(sent, *lines, chunked=chunked))))
            made.writer.close()
        assert answers[0] == answers[1] or name == "known from now on", name


async def test_requests_sent_ahead_are_answered_in_their_order(connection: Connection, site: Site) -> None:
    messages = [order() for _ in range(20)]
    raw = [request(json.dumps(message).encode(), chunked=number % 5 == 4) for number, message in enumerate(messages)]
    raw.insert(10, b"GET /live HTTP/1.1\r\nhost: x\r\n\r\n")
    connection.writer.write(b"".join(raw))
    answers = [await connection.answer() for _ in raw]
    assert json.loads(answers.pop(10)[1])["status"] == "alive"
    assert [json.loads(body)["messageId"] for _, body in answers] == [message_id(message) for message in messages]
    events = await site.events()
    assert all(message_id(message) in events for message in messages)


async def test_a_body_in_pieces_and_a_long_one_are_taken(connection: Connection) -> None:
    for size in (10, 59_000, 61_000, 300_000):
        raw = request(json.dumps(order(note="n" * size)).encode())
        for start in range(0, len(raw), 1 + len(raw) // 7):
            connection.writer.write(raw[start : start + 1 + len(raw) // 7])
            await asyncio.sleep(0.01)
        head, body = await connection.answer()
        assert head.startswith(b"HTTP/1.1 202 Accepted\r\n"), body


async def test_a_request_in_the_smallest_pieces_is_taken(connection: Connection) -> None:
    for size in (1, 3, 50):
        raw = request(json.dumps(order()).encode())
        for start in range(0, len(raw), size):
            connection.writer.write(raw[start : start + size])
            await asyncio.sleep(0)
        head, body = await connection.answer()
        assert head.startswith(b"HTTP/1.1 202 Accepted\r\n"), body


async def test_a_thousand_known_messages_sent_ahead_are_all_answered(connection: Connection) -> None:
    raw = request(json.dumps(order()).encode())
    await connection.ask(raw)
    connection.writer.write(raw * 1000)
    for _ in range(1000):
        head, body = await connection.answer()
        assert head.startswith(b"HTTP/1.1 202 Accepted\r\n")
        assert json.loads(body)["duplicate"]


async def test_an_old_client_s_connection_is_closed_after_the_answer(connection: Connection) -> None:
    head, _ = await connection.ask(request(json.dumps(order()).encode(), version="1.0"))
    assert head.startswith(b"HTTP/1.1 202 Accepted\r\n")
    assert b"connection: close" in head
    assert await connection.closed()


async def test_a_client_that_left_loses_nothing_that_it_sent_whole(
    connection: Connection, site: Site, client: aiohttp.ClientSession
) -> None:
    message: dict[str, Any] = order()
    connection.writer.write(request(json.dumps(message).encode()))
    await connection.writer.drain()
    connection.writer.transport.abort()
    async with client.get("/live") as answer:
        assert answer.status == 200
    async with asyncio.timeout(60):
        while message_id(message) not in await site.events():  # noqa: ASYNC110 - Kafka is what is asked
            await asyncio.sleep(0.2)


async def test_a_stopping_replica_answers_what_it_took_and_closes(site: Site) -> None:
    async with replica(site) as one:
        made = await connected(one)
        made.writer.write(request(json.dumps(order()).encode()))
        await made.writer.drain()
        code = asyncio.create_task(one.terminated())
        head, _ = await made.answer()
        assert head.startswith(b"HTTP/1.1 202 Accepted\r\n")
        assert await made.closed()
        assert await code == 0
        made.writer.close()


async def test_a_stopping_replica_waits_for_the_rest_of_a_body(site: Site) -> None:
    async with replica(site) as one:
        made = await connected(one)
        raw = request(json.dumps(order()).encode())
        made.writer.write(raw[:-1])
        await made.writer.drain()
        async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{one.port}/live") as live:
            assert live.status == 200  # by now the part has come
        code = asyncio.create_task(one.terminated())
        await asyncio.sleep(0.2)
        head, _ = await made.ask(raw[-1:])
        assert head.startswith(b"HTTP/1.1 202 Accepted\r\n")
        assert await made.closed()
        assert await code == 0
        made.writer.close()
