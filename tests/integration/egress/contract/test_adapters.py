"""What every adapter keeps, against a real server of its kind. A new adapter is one more entry in ``KINDS``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests.integration.egress.destinations import QueueDestination, RestDestination, until

from linkspan.egress.deliver.adapter import Adapter, Delivery
from linkspan.egress.deliver.rest import RestAdapter
from linkspan.egress.deliver.rest_batch import BatchAdapter
from linkspan.egress.deliver.websocket import WebSocketAdapter
from linkspan.egress.partition.answer import Unanswered, Withheld
from linkspan.kernel.errors import DeliveryError, Rejected, Transient, Unavailable
from linkspan.kernel.spec import Deliver, System
from linkspan.kernel.spec_deliver import Batch

Destination = RestDestination | QueueDestination
KINDS: dict[str, tuple[Callable[[], Destination], Callable[[System], Adapter]]] = {
    "rest": (RestDestination, lambda system: RestAdapter(system, TO)),
    "rest in batches": (RestDestination, lambda system: BatchAdapter(system, IN_BATCHES, 1.0)),
    "websocket": (QueueDestination, lambda system: WebSocketAdapter(system, TO)),
}
TO = Deliver(path="/v1/queue")
IN_BATCHES = Deliver(path="/v1/queue", batch=Batch(size=8, wait=0.02))
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def delivery(number: int, **changes: Any) -> Delivery:
    body = {"header": {}, "payload": {"orderId": "a", "line": number}, "metadata": {}}
    facts: dict[str, Any] = {
        "message_id": f"id-{number}",
        "correlation_id": f"correlation-{number}",
        "key": "a",
        "sequence": number,
        "redelivery": False,
        "traceparent": TRACEPARENT,
        "attempt": 1,
        "values": {"orderId": "a", "line": number},
        "body": json.dumps(body).encode(),
    }
    return Delivery(**(facts | changes))


class Harness:
    """An adapter, its destination, and the answers in order of arrival."""

    def __init__(self, kind: str) -> None:
        make, self._make = KINDS[kind]
        self.destination = make()
        self.answers: list[tuple[str, DeliveryError | None]] = []
        self.adapter: Adapter
        self._answered = asyncio.Event()
        self.timeout = 10.0

    async def open(self, api_key: str = "key", *, listening: bool = True) -> None:
        if listening or not self.destination.port:
            await self.destination.start()
        url = self.destination.url
        if not listening:
            await self.destination.stop()
        kind = "rest" if url.startswith("http") else "websocket"
        system = System.model_validate(
            {"kind": kind, "url": url, "auth": {"api_key": api_key}, "timeout": self.timeout, "heartbeat": 30}
        )
        self.adapter = self._make(system)
        await self.adapter.open()
        if listening and api_key == "key":
            await self.connected()

    async def connected(self) -> None:
        await until(lambda: self.adapter.capacity() > 0)

    def submit(self, *deliveries: Delivery) -> None:
        for one in deliveries:
            self.adapter.submit(one, self._take)

    def _take(self, sent: Delivery, error: DeliveryError | None) -> None:
        self.answers.append((sent.message_id, error))
        self._answered.set()

    async def wait(self, count: int, seconds: float = 60) -> list[DeliveryError | None]:
        async with asyncio.timeout(seconds):
            while len(self.answers) < count:
                self._answered.clear()
                await self._answered.wait()
        return [error for _, error in self.answers]

    async def answer(self, sent: Delivery) -> DeliveryError | None:
        count = len(self.answers) + 1
        self.submit(sent)
        return (await self.wait(count))[-1]


@pytest.fixture(params=list(KINDS))
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    made = Harness(request.param)
    yield made
    if hasattr(made, "adapter"):
        await made.adapter.close()
        await made.destination.stop()


async def test_a_delivery_that_is_taken_is_answered_once_with_nothing_wrong(harness: Harness) -> None:
    await harness.open()
    harness.submit(*(delivery(number) for number in range(16)))
    assert await harness.wait(16) == [None] * 16
    assert sorted(harness.answers) == sorted((f"id-{number}", None) for number in range(16))


async def test_the_destination_gets_idempotency_key_sequence_trace_and_the_redelivery_mark(harness: Harness) -> None:
    await harness.open()
    await harness.answer(delivery(41))
    await harness.answer(delivery(42, redelivery=True, replay="plan-1"))
    first, second = harness.destination.got
    assert (first.id, first.sequence, first.redelivery) == ("id-41", 41, False)
    assert (second.id, second.sequence, second.redelivery) == ("id-42", 42, True)
    assert (first.replay, second.replay) == (None, "plan-1")
    assert first.traceparent == TRACEPARENT
    assert first.body["payload"] == {"orderId": "a", "line": 41}
    assert first.path == "/v1/queue"


async def test_an_invalid_message_is_rejected_with_what_is_wrong(harness: Harness) -> None:
    harness.destination.reply = lambda _got: 422
    if isinstance(harness.destination, RestDestination):
        harness.destination.problem = {"errors": [{"field": "payload.line", "error": "must not be odd"}]}
    await harness.open()
    error = await harness.answer(delivery(1))
    assert type(error) is Rejected
    assert "payload.line: must not be odd" in error.reason


async def test_a_busy_destination_is_unavailable_and_says_when_to_ask_again(harness: Harness) -> None:
    harness.destination.reply = lambda _got: 503
    if isinstance(harness.destination, RestDestination):
        harness.destination.headers = {"Retry-After": "3"}
    await harness.open()
    error = await harness.answer(delivery(1))
    assert type(error) is Unavailable
    assert error.retry_after in (3, 0.2)


async def test_silence_ends_in_time_as_unanswered_and_a_later_attempt_gets_longer(harness: Harness) -> None:
    harness.destination.reply = lambda _got: "silence"
    harness.timeout = 1.0
    await harness.open()
    loop = asyncio.get_running_loop()
    started = loop.time()
    assert type(await harness.answer(delivery(1))) is Unanswered
    assert loop.time() - started > 0.4
    await harness.connected()
    started = loop.time()
    assert type(await harness.answer(delivery(1, attempt=2))) is Unanswered
    assert loop.time() - started > 0.9


async def test_a_connection_lost_leaves_its_deliveries_unanswered_and_the_next_ones_arrive(harness: Harness) -> None:
    harness.destination.reply = lambda got: "cut" if got.sequence == 1 else 201
    await harness.open()
    assert type(await harness.answer(delivery(1))) is Unanswered
    await harness.connected()
    assert await harness.answer(delivery(2)) is None


async def test_nobody_there_is_unavailable_and_no_redelivery(harness: Harness) -> None:
    await harness.open(listening=False)
    assert type(await harness.answer(delivery(1))) is Unavailable
    assert await harness.adapter.check() is not None


async def test_it_comes_back_by_itself(harness: Harness) -> None:
    await harness.open()
    assert await harness.answer(delivery(1)) is None
    await harness.destination.stop()
    await asyncio.sleep(0.1)
    assert isinstance(await harness.answer(delivery(2)), Unavailable)
    await harness.destination.start()
    await harness.connected()
    assert await harness.answer(delivery(2, redelivery=True)) is None


async def test_an_answer_that_comes_late_or_twice_answers_nothing_else(harness: Harness) -> None:
    harness.destination.reply = lambda got: {1: "late", 2: "twice"}.get(got.sequence, 201)
    harness.timeout = 1.0
    await harness.open()
    assert type(await harness.answer(delivery(1))) is Unanswered
    await harness.connected()
    assert await harness.answer(delivery(2, attempt=2)) is None
    await asyncio.sleep(1.0)
    assert await harness.answer(delivery(3, attempt=2)) is None
    assert len(harness.answers) == 3


async def test_two_deliveries_of_one_id_get_an_answer_each(harness: Harness) -> None:
    harness.destination.hold = 0.1
    harness.destination.reply = lambda got: 201 if got.sequence == 1 else 422
    await harness.open()
    harness.submit(delivery(1), delivery(2, message_id="id-1"))
    errors = await harness.wait(2)
    assert [type(error) for error in errors] == [type(None), Rejected]


async def test_wrong_credentials_concern_the_destination_and_no_message(harness: Harness) -> None:
    if isinstance(harness.destination, RestDestination):
        harness.destination.wanted_fields = {"X-API-Key": "key"}
    await harness.open(api_key="wrong")
    async with asyncio.timeout(10):
        while await harness.adapter.check() == "not connected":  # noqa: ASYNC110 - it does not tell
            await asyncio.sleep(0.01)
    error = await harness.answer(delivery(1))
    assert type(error) is Unavailable
    assert "refuses our credentials" in error.reason
    assert "refuses our credentials" in (await harness.adapter.check() or "")
    assert "wrong" not in error.reason


async def test_closing_answers_everything_that_is_under_way(harness: Harness) -> None:
    harness.destination.reply = lambda _got: "silence"
    harness.timeout = 20.0
    await harness.open()
    harness.submit(*(delivery(number) for number in range(4)))
    await until(lambda: len(harness.destination.got) == 4)
    await harness.adapter.close()
    assert [type(error) for error in await harness.wait(4)] == [Unanswered] * 4


async def test_what_may_not_go_any_more_is_not_sent(harness: Harness) -> None:
    await harness.open()
    error = await harness.answer(delivery(1, may_go=lambda: False))
    assert type(error) is Withheld
    assert await harness.answer(delivery(1)) is None
    assert len(harness.destination.got) == 1


async def test_capacity_counts_what_is_under_way(harness: Harness) -> None:
    harness.destination.hold = 0.2
    await harness.open()
    free = harness.adapter.capacity()
    harness.submit(delivery(1), delivery(2))
    assert harness.adapter.capacity() == free - 2
    await harness.wait(2)
    assert harness.adapter.capacity() == free


async def test_a_server_error_is_transient(harness: Harness) -> None:
    if isinstance(harness.destination, QueueDestination):
        pytest.skip("the queue's frames know no such answer")
    harness.destination.reply = lambda _got: 500
    await harness.open()
    assert type(await harness.answer(delivery(1))) is Transient
