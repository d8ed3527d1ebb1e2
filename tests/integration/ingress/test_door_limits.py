"""What one sender can cost the others: rates, sizes, slow and many connections, heads without end, and ids."""

import asyncio
import contextlib
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from tests.integration.ingress.senders import both_ways, issue, operator, post
from tests.integration.ingress.site import Replica, Site, order, replica
from tests.integration.ingress.test_hot import Connection, connected, request
from tests.kafka_fixture import Kafka

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]
BODY = json.dumps(order()).encode()
HEAD = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
IMPATIENT = {
    "LINKSPAN_INTAKE_HEAD_SECONDS": "1",
    "LINKSPAN_INTAKE_BODY_SECONDS": "1",
    "LINKSPAN_INTAKE_BYTES_PER_SECOND": "1000000",
    "LINKSPAN_INTAKE_REFUSALS": "1000",
}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, kafka: Kafka) -> Site:
    return Site(tmp_path_factory.mktemp("limits"), kafka.bootstrap)


@pytest.fixture(scope="module")
def started(own: Site) -> Iterator[Replica]:
    made = Replica(own, **IMPATIENT)
    yield made
    made.kill()


@pytest.fixture
async def one(started: Replica) -> Replica:
    return started if started.control else await started.ready()


@pytest.fixture
def fresh(tmp_path: Path, kafka: Kafka) -> Site:
    """Where a key may be issued, after which nobody is heard without one."""
    return Site(tmp_path, kafka.bootstrap)


def status(answer: tuple[bytes, bytes]) -> int:
    return int(answer[0].split()[1])


def request_id(head: bytes) -> str:
    found = re.findall(rb"x-request-id: ([^\r]*)\r\n", head)
    assert len(found) == 1, head
    return str(found[0].decode())


async def ended(connection: Connection) -> tuple[int, dict[str, str]]:
    """What a connection is told before it is closed."""
    answer = await connection.answer()
    with contextlib.suppress(ConnectionResetError):  # where something of what was sent is not read any more
        assert await connection.closed()
    assert request_id(answer[0])
    return status(answer), json.loads(answer[1])


async def test_an_open_ingress_counts_by_address_and_says_when_to_come_again(own: Site) -> None:
    async with replica(own, LINKSPAN_INTAKE_RATE="0.02", LINKSPAN_INTAKE_BURST="4") as slow:
        assert [(await both_ways(slow)).status for _ in range(2)] == [202, 202]
        found = await both_ways(slow)
        assert (found.status, found.problem) == (429, "too-many")
        assert 1 <= int(found.headers["Retry-After"]) <= 50
        metrics = await page(slow, "/metrics")
        assert 'linkspan_throttled_total{kind="address"} 2.0' in metrics


async def page(of: Replica, path: str) -> str:
    async with aiohttp.ClientSession(of.url) as session, session.get(path) as answer:
        return await answer.text()


async def test_each_key_has_a_rate_and_a_size_of_its_own(fresh: Site) -> None:
    async with replica(fresh) as here:
        async with operator(here, fresh) as by:
            slow = (await issue(by, "slow", rate=0.1, burst=2)).key
            small = (await issue(by, "small", max_bytes=1000)).key
        assert [(await post(here, key=slow)).status for _ in range(3)] == [202, 202, 429]
        assert int((await both_ways(here, slow)).headers["Retry-After"]) >= 5
        assert (await both_ways(here, small)).status == 202
        large = order(note="x" * 1000)
        for headers in ({}, {"Prefer": "wait=0"}):
            found = await post(here, large, key=small, **headers)
            assert (found.status, found.body["detail"]) == (413, "the limit is 1000 bytes")
        assert (await post(here, [order(), order(), order()], "/v1/messages:batch", small)).status == 413
        async with operator(here, fresh) as by:
            other = (await issue(by, "other", rate=1, burst=3)).key
        assert (await post(here, [order() for _ in range(20)], "/v1/messages:batch", other)).status == 202
        owed = await post(here, key=other)
        assert (owed.status, int(owed.headers["Retry-After"]) > 10) == (429, True), (
            "a batch counts each of its messages"
        )


async def test_credentials_are_not_tried_without_end_and_whoever_has_one_is_not_kept_out(fresh: Site) -> None:
    async with replica(fresh, LINKSPAN_INTAKE_REFUSALS="4", LINKSPAN_INTAKE="identified") as here:
        async with operator(here, fresh) as by:
            key = (await issue(by, "known")).key
        tried = [await post(here, key="lsk_0123456789ab_" + "a" * 43) for _ in range(6)]
        assert [one.status for one in tried[:4]] == [401] * 4
        assert tried[5].status == 429
        assert int(tried[5].headers["Retry-After"]) >= 1
        assert (await both_ways(here, key)).status == 202


@pytest.mark.parametrize(
    "sent",
    [b"", b"P", HEAD, HEAD + b"x-slow: ", b"\r\n\r\n", b"GET /live HTTP/1.1\r\n"],
    ids=["nothing", "a letter", "fields", "half a field", "blank lines", "another page"],
)
async def test_a_head_that_does_not_come_ends_the_connection(one: Replica, sent: bytes) -> None:
    connection = await connected(one)
    connection.writer.write(sent)
    code, said = await ended(connection)
    assert (code, said["type"]) == (408, "/problems/too-slow")


async def test_a_head_that_comes_byte_by_byte_ends_as_late(one: Replica) -> None:
    """All of it would take minutes."""
    connection = await connected(one)
    dripping = asyncio.create_task(drip(connection, b"x-" + b"a" * 1000))
    assert (await ended(connection))[0] == 408
    dripping.cancel()


async def drip(connection: Connection, rest: bytes) -> None:
    connection.writer.write(HEAD)
    for byte in rest:
        connection.writer.write(bytes([byte]))
        await asyncio.sleep(0.2)


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"content-length: 5000\r\n\r\n",
        HEAD + b"prefer: wait=1\r\ncontent-length: 5000\r\n\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\n1388\r\n",
    ],
    ids=["short way", "usual way", "chunked"],
)
async def test_a_body_that_does_not_come_ends_the_connection(one: Replica, head: bytes) -> None:
    connection = await connected(one)
    connection.writer.write(head + b'{"header"')
    assert (await ended(connection))[0] == 408


async def test_whoever_was_answered_already_is_not_answered_again(fresh: Site) -> None:
    async with replica(fresh, **IMPATIENT, LINKSPAN_INTAKE="identified") as here:
        connection = await connected(here)
        connection.writer.write(HEAD + b"content-length: 5000\r\n\r\n")
        connection.writer.write(b"{" * 10)
        connection.writer.write(b"{" * 10)
        assert status(await connection.answer()) == 408
        usual = await connected(here)
        usual.writer.write(HEAD + b"prefer: wait=1\r\ncontent-length: 5000\r\n\r\n{")
        assert status(await usual.answer()) == 401
        assert await usual.closed(), "without another word"


async def test_a_slow_body_is_taken_as_long_as_it_keeps_its_pace(own: Site) -> None:
    patient = IMPATIENT | {"LINKSPAN_INTAKE_BYTES_PER_SECOND": "1"}
    async with replica(own, **patient) as here:
        for way in ([], ["prefer: wait=0"]):
            connection = await connected(here)
            head, _, body = request(json.dumps(order()).encode(), *way).partition(b"\r\n\r\n")
            connection.writer.write(head + b"\r\n\r\n")  # whole: the time that it has is no matter of pace
            for at in range(0, len(body), 70):
                await asyncio.sleep(0.4)
                connection.writer.write(body[at : at + 70])
            assert status(await connection.answer()) == 202
            connection.writer.close()


async def let_in(here: Replica) -> bool:
    connection = await connected(here)
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):  # refused, and closed before it asked
        return status(await connection.ask(request(BODY))) == 202
    return False


async def test_many_connections_of_one_address_leave_room_for_none_more_and_are_counted_down(own: Site) -> None:
    async with replica(own, LINKSPAN_INTAKE_CONNECTIONS_PER_ADDRESS="3") as here:
        held = [await connected(here) for _ in range(3)]
        assert [status(await one.ask(request(BODY))) for one in held] == [202] * 3
        code, said = await ended(await connected(here))
        assert (code, said["type"]) == (503, "/problems/connections")
        held[0].writer.close()
        async with asyncio.timeout(30):
            while not await let_in(here):  # noqa: ASYNC110 - it does not tell that it has counted down
                await asyncio.sleep(0.1)
    async with replica(own, LINKSPAN_INTAKE_CONNECTIONS="1") as here:
        first = await connected(here)
        assert status(await first.ask(request(BODY))) == 202
        assert (await ended(await connected(here)))[0] == 503


@pytest.mark.parametrize(
    "lines",
    [
        b"x-long: " + b"a" * 40_000 + b"\r\n",
        b"".join(b"x-%d: 1\r\n" % n for n in range(101)),
        b"".join(b"x-%d: %s\r\n" % (n, b"a" * 1000) for n in range(90)),
    ],
    ids=["one long", "many", "much"],
)
async def test_a_head_that_is_too_large_is_refused(one: Replica, lines: bytes) -> None:
    connection = await connected(one)
    connection.writer.write(HEAD + lines + b"content-length: %d\r\n\r\n" % len(BODY) + BODY)
    code, said = await ended(connection)
    assert (code, said["type"]) == (431, "/problems/head-too-large")


@pytest.mark.parametrize(
    "start",
    [b"POST /" + b"a" * 1000, HEAD + b"x-endless: ", HEAD + b"transfer-encoding: chunked\r\n\r\n1;"],
    ids=["address", "field", "extension of a chunk"],
)
async def test_what_has_no_end_is_not_kept(one: Replica, start: bytes) -> None:
    connection = await connected(one)
    connection.writer.write(start)
    await asyncio.sleep(0.1)
    connection.writer.write(b"a" * 70_000)
    assert (await ended(connection))[0] == 431


async def test_fields_after_a_body_are_counted_too(one: Replica) -> None:
    connection = await connected(one)
    chunk = b"%x\r\n%b\r\n0\r\n" % (len(BODY), BODY)
    connection.writer.write(HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunk)
    connection.writer.write(b"".join(b"x-%d: 1\r\n" % n for n in range(200)) + b"\r\n")
    assert (await ended(connection))[0] == 431


async def test_nothing_compressed_is_unpacked(own: Site, one: Replica) -> None:
    before = len(await own.records())
    bomb = gzip.compress(b"0" * 20_000_000)
    async with aiohttp.ClientSession(one.url) as session:
        for encoding in ("gzip", "deflate", "br", "zstd", "gzip, gzip", "x"):
            headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
            for path in ("/v1/messages", "/v1/messages:batch"):
                async with session.post(path, data=bomb, headers=headers) as answer:
                    assert answer.status == 415
                    assert "not compressed" in (await answer.json())["title"]
    connection = await connected(one)
    connection.writer.write(HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(bomb), bomb))
    assert status(await connection.answer()) in (400, 415)
    connection.writer.close()
    assert len(await own.records()) == before


PAGES = ("/live", "/ready", "/health", "/metrics", "/docs", "/openapi.json", "/nothing", "/v1", "/v1/messages/")


async def test_every_answer_has_the_id_of_its_request(one: Replica) -> None:
    async with aiohttp.ClientSession(one.url) as session:
        for path in (*PAGES, "/v1/messages", "/v1/messages:batch"):
            for method in ("GET", "POST", "DELETE", "OPTIONS"):
                async with session.request(method, path, headers={"X-Request-ID": "mine-1"}) as answer:
                    assert answer.headers.getall("X-Request-ID") == ["mine-1"], (method, path, answer.status)
                async with session.request(method, path) as answer:
                    assert len(answer.headers["X-Request-ID"]) == 36
    for broken in (b"\x00\x01\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"POST / HTTP/1.1\r\nbad line\r\n\r\n"):
        connection = await connected(one)
        connection.writer.write(broken)
        code, said = await ended(connection)
        assert (code, said["type"]) == (400, "/problems/malformed-request")


@pytest.mark.parametrize(
    "given",
    [
        b"a b",
        b"a\tb",
        b"x" * 129,
        b"",
        "é".encode(),
        b"a\x7f",
        b"a\nset-cookie: x=1",
        b"a\rset-cookie: x=1",
        b"a\r\n\tset-cookie: x=1",
        b"a%0d%0aset-cookie:x=1",
    ],
)
async def test_an_id_can_put_nothing_into_an_answer(one: Replica, given: bytes) -> None:
    for path in (b"/v1/messages", b"/live"):
        connection = await connected(one)
        method = b"GET" if path == b"/live" else b"POST"
        head = b"%b %b HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n" % (method, path)
        connection.writer.write(head + b"x-request-id: %b\r\ncontent-length: 0\r\n\r\n" % given)
        answer, _ = await connection.answer()
        names = [line.partition(b":")[0] for line in answer.split(b"\r\n")[1:]]
        assert b"set-cookie" not in names
        assert re.fullmatch(r"[\x21-\x7e]{1,128}", request_id(answer))
        connection.writer.close()
