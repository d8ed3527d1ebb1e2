"""The step ``lookup``: asks a real system once, remembers, and waits for one that is away without spending attempts."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from tests.integration.egress.bridge import Bridge, order_id, write_integration
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination, until
from tests.integration.egress.traffic import most_in_a_second

from linkspan.kernel.blobs import BlobStore
from linkspan.kernel.errors import Poison, Transient, Unavailable
from linkspan.kernel.telemetry.metrics import RATE_LIMITS
from linkspan.kernel.telemetry.traces import Tracing
from linkspan.transform import Transform
from linkspan.transform.asked import Cause
from linkspan.transform.cache import FoundCache

TEXT = {"jsonata": '{"orderId": orderId, "line": line, "text": customer.name}'}


QUICK = {"retry": {"first": "50ms", "cap": "100ms"}}


class Customers:
    """The system that is asked; ``answer`` decides each answer."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.times: list[float] = []
        self.traceparents: list[str] = []
        self.failing = ""
        self.hold = 0.0
        self.at_once = self.most = 0
        self.status = 200
        self.body: Any = {"name": "Ada"}
        self.port = 0

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/v1/customers/{id}", self._give)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _give(self, request: web.Request) -> web.Response:
        if request.headers.get("X-API-Key") != "key":
            return web.json_response({}, status=401)
        self.asked.append(request.match_info["id"])
        self.times.append(asyncio.get_running_loop().time())
        self.traceparents.append(request.headers.get("traceparent", ""))
        if self.asked[-1] == self.failing:
            return web.json_response({}, status=500)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(self.hold)
        self.at_once -= 1
        if isinstance(self.body, str):
            return web.Response(text=self.body, status=self.status)
        return web.json_response(self.body, status=self.status)

    def system(self, **more: Any) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.port}"
        return {"kind": "rest", "url": url, "auth": {"api_key": "key"}, "timeout": "20s"} | more


@pytest.fixture
async def customers() -> AsyncIterator[Customers]:
    server = Customers()
    await server.start()
    yield server
    await server.stop()


def step(**more: Any) -> dict[str, Any]:
    path = {"system": "shop", "path": "/v1/customers/{orderId}", "key": "orderId", "into": "customer"}
    return {"lookup": path | more}


class Made:
    """A transform with a lookup, without Kafka."""

    def __init__(self, folder: Path, customers: Customers, shop: dict[str, Any], **lookup: Any) -> None:
        store = {"kind": "rest", "url": "http://127.0.0.1:9"}
        path = write_integration(folder, store, transform=[step(**lookup), TEXT], shop=customers.system(**shop))
        bridge = Bridge(path, "")
        self.transform = Transform(bridge.integration, "orders", bridge.catalog, BlobStore(str(folder / "blobs")))

    async def text(self, key: int) -> str:
        payload = {"orderId": order_id(key), "line": 1, "text": ""}
        given: dict[str, Any] = {"header": {}, "payload": payload, "metadata": {}}
        made = self.transform.apply_now(given)
        return str((made or await self.transform.apply(given))["text"])


@pytest.fixture
async def make(tmp_path: Path, customers: Customers) -> AsyncIterator[Any]:
    made: list[Made] = []

    def making(shop: dict[str, Any] | None = None, **lookup: Any) -> Made:
        made.append(Made(tmp_path / str(len(made)), customers, shop or {}, **lookup))
        return made[-1]

    yield making
    for one in made:
        await one.transform.close()


async def test_a_key_is_asked_for_once_also_by_many_at_the_same_time(make: Any, customers: Customers) -> None:
    one = make()
    customers.hold = 0.1
    assert set(await asyncio.gather(*(one.text(number % 3) for number in range(30)))) == {"Ada"}
    assert Counter(customers.asked) == {order_id(key): 1 for key in range(3)}
    assert await one.text(1) == "Ada"
    assert len(customers.asked) == 3


async def test_what_is_remembered_is_bounded_in_number_and_age(
    make: Any, customers: Customers, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("linkspan.transform.lookup.FoundCache", partial(FoundCache, clock=lambda: now))
    one = make(cache={"entries": 2, "ttl": "2s"})
    for key in (0, 1, 2, 0):
        await one.text(key)
    assert customers.asked == [order_id(key) for key in (0, 1, 2, 0)]
    for _ in range(4):
        now += 1.9
        await one.text(0)
    assert len(customers.asked) == 4
    now += 2.1
    await one.text(0)
    assert len(customers.asked) == 5


async def test_no_more_requests_at_once_than_the_system_takes(make: Any, customers: Customers) -> None:
    one = make({"throttle": {"concurrency": 3}})
    customers.hold = 0.02
    await asyncio.gather(*(one.text(number) for number in range(20)))
    assert customers.most == 3


async def test_a_key_that_is_not_there_is_poison_or_null(make: Any, customers: Customers) -> None:
    customers.status = 404
    with pytest.raises(Poison, match=f"lookup of customer found nothing: shop has nothing for orderId '{order_id(4)}'"):
        await make().text(4)
    nullable = make(missing="null")
    assert await nullable.text(4) == ""
    customers.status = 200
    assert await nullable.text(4) == "Ada"


@pytest.mark.parametrize("status", [500, 503, 429, 401])
async def test_a_system_that_cannot_be_asked_is_unavailable(make: Any, customers: Customers, status: int) -> None:
    customers.status = status
    one = make(QUICK)
    with pytest.raises(Unavailable, match="lookup of customer waits for shop"):
        await one.text(1)
    customers.status = 200
    assert await soon(one, 1) == "Ada"


async def soon(one: Made, key: int) -> str:
    """What is found once the system is asked again."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await one.text(key)
            except Unavailable:
                await asyncio.sleep(0.02)


async def test_a_system_that_is_away_is_left_alone_until_its_pause_is_over(make: Any, customers: Customers) -> None:
    one = make({"retry": {"first": "2s", "cap": "2s"}})
    customers.status = 503
    for key in range(20):
        with pytest.raises(Unavailable, match="503"):
            await one.text(key)
    assert len(customers.asked) == 1
    customers.status = 200
    assert await soon(one, 3) == "Ada"


async def test_a_key_that_alone_fails_is_told_apart_from_a_system_that_is_away(make: Any, customers: Customers) -> None:
    one = make(QUICK, cache={"ttl": "1ms"})
    customers.failing = order_id(7)
    with pytest.raises(Transient, match=f"lookup of customer for '{order_id(7)}': 500"):
        await asked_by_turns(one, 7)


async def asked_by_turns(one: Made, failing: int) -> None:
    async with asyncio.timeout(20):
        for number in itertools.count():
            for key in (failing, number % 5):
                with suppress(Unavailable):
                    await one.text(key)
            await asyncio.sleep(0.02)


async def test_the_rate_of_a_system_holds_for_lookups_and_what_it_held_back_is_counted(
    make: Any, customers: Customers
) -> None:
    one = make({"throttle": {"rate": "20/s"}})
    before = RATE_LIMITS.labels("shop", "applied")._value.get()
    await asyncio.gather(*(one.text(number) for number in range(30)))
    assert most_in_a_second(customers.times) <= 20 + 2 + 1
    assert RATE_LIMITS.labels("shop", "applied")._value.get() > before


async def test_a_429_is_counted(make: Any, customers: Customers) -> None:
    customers.status = 429
    before = RATE_LIMITS.labels("shop", "met")._value.get()
    with pytest.raises(Unavailable):
        await make().text(1)
    assert RATE_LIMITS.labels("shop", "met")._value.get() == before + 1


async def test_a_lookup_is_a_span_of_the_message_that_asked_and_the_system_is_told_which(
    make: Any, customers: Customers
) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    cause = Cause(Tracing(provider, 1.0), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    payload = {"orderId": order_id(1), "line": 1, "text": ""}
    await make().transform.apply({"header": {}, "payload": payload, "metadata": {}}, cause=cause)
    span = exporter.get_finished_spans()[0]
    context = span.get_span_context()
    assert (span.name, span.kind) == ("GET /v1/customers/{orderId}", SpanKind.CLIENT)
    assert span.parent.span_id == 0x00F067AA0BA902B7
    assert customers.traceparents == [f"00-4bf92f3577b34da6a3ce929d0e0e4736-{context.span_id:016x}-01"]


async def test_a_system_that_does_not_answer_is_unavailable(make: Any, customers: Customers) -> None:
    customers.hold = 60
    with pytest.raises(Unavailable, match="has not answered within 1 s"):
        await make({"timeout": "1s"}).text(1)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, {"title": "no uuid"}, "was answered 400 no uuid"),
        (200, "<html>", "brought no JSON"),
        (200, {"id": 2**60}, "must be sent as text"),
        (200, {"name": "x" * 300_000}, "more than 262144 bytes"),
        (200, {"address": "a", "digest": "d", "size": 1, "mediaType": None}, "reference to a blob"),
    ],
)
async def test_an_answer_that_is_of_no_use_is_poison(
    make: Any, customers: Customers, status: int, body: Any, reason: str
) -> None:
    customers.status, customers.body = status, body
    with pytest.raises(Poison, match=reason):
        await make().text(1)


@pytest.mark.kafka
async def test_messages_wait_for_a_lookup_without_spending_attempts(
    bridge: MakeBridge, rest: RestDestination, customers: Customers
) -> None:
    await customers.stop()
    made = await bridge(
        rest_system(rest),
        shop=customers.system(retry={"first": "100ms", "cap": "500ms"}),
        transform=[step(), TEXT],
    )
    await made.append(*[(order_id(key), line) for line in range(3) for key in range(4)])
    async with made.serving():
        await asyncio.sleep(2)
        assert await made.outcomes() == []
        await customers.start()
        outcomes = await made.wait_outcomes(12)
    assert {(one["kind"], one["attempt"]) for one in outcomes} == {("delivered", 0)}
    assert {got.body["payload"]["text"] for got in rest.got} == {"Ada"}
    assert Counter(customers.asked) == {order_id(key): 1 for key in range(4)}
    await until(lambda: len(rest.got) == 12)
