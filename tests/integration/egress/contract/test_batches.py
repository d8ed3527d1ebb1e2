"""What delivery in batches keeps besides, against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.integration.egress.contract.test_adapters import delivery
from tests.integration.egress.destinations import Got, Reply, RestDestination, until

from linkspan.egress.deliver.adapter import Delivery
from linkspan.egress.deliver.rest_batch import BatchAdapter
from linkspan.egress.partition.answer import Superseded, Unanswered, Withheld
from linkspan.kernel.errors import DeliveryError, Rejected, Transient, Unavailable
from linkspan.kernel.spec import Deliver, System


class Sender:
    """A batch adapter, its destination, and the answer to each message, by sequence."""

    def __init__(self) -> None:
        self.destination = RestDestination()
        self.answers: dict[int, DeliveryError | None] = {}

    async def open(self, path: str = "/v1/queue", concurrency: int = 4, **batch: Any) -> None:
        await self.destination.start()
        system = System.model_validate(
            {"kind": "rest", "url": self.destination.url, "timeout": 5, "throttle": {"concurrency": concurrency}}
        )
        deliver = Deliver.model_validate({"path": path, "batch": {"path": "/v1/batch", **batch}})
        self.adapter = BatchAdapter(system, deliver, 10.0)
        await self.adapter.open()

    def submit(self, *numbers: int, **changes: Any) -> None:
        for number in numbers:
            self.adapter.submit(delivery(number, **changes), self._take)

    def _take(self, sent: Delivery, error: DeliveryError | None) -> None:
        assert sent.sequence not in self.answers, "answered twice"
        self.answers[sent.sequence] = error

    async def answered(self, *numbers: int, **changes: Any) -> list[type | None]:
        """The kinds of errors of these, sent now; None: delivered."""
        for number in numbers:
            self.answers.pop(number, None)
        self.submit(*numbers, **changes)
        await until(lambda: all(number in self.answers for number in numbers))
        return [None if self.answers[number] is None else type(self.answers[number]) for number in numbers]

    @property
    def batches(self) -> list[list[int]]:
        return [[int(one.removeprefix("id-")) for one in batch] for batch in self.destination.batches]

    def reply(self, replies: dict[int, Reply]) -> None:
        self.destination.reply = lambda got: replies.get(got.sequence, 201)


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    made = Sender()
    yield made
    await made.adapter.close()
    await made.destination.stop()


async def test_a_full_batch_goes_at_once_and_another_after_its_wait(sender: Sender) -> None:
    await sender.open(size=3, wait="3s")
    loop = asyncio.get_running_loop()
    started = loop.time()
    sender.submit(1, 2, 3, 4)
    await until(lambda: 3 in sender.answers)
    assert 4 not in sender.answers
    await until(lambda: 4 in sender.answers)
    assert loop.time() - started >= 3
    assert sender.batches == [[1, 2, 3], [4]]


async def test_each_message_keeps_its_key_sequence_mark_trace_and_the_path_that_it_would_have_gone_to(
    sender: Sender,
) -> None:
    await sender.open(path="/v1/orders/{orderId}/{line}", size=2)
    sender.submit(1)
    await sender.answered(2, redelivery=True)
    first, second = sender.destination.got
    assert (first.id, first.sequence, first.redelivery) == ("id-1", 1, False)
    assert (second.id, second.sequence, second.redelivery) == ("id-2", 2, True)
    assert (first.path, second.path) == ("/v1/orders/a/1", "/v1/orders/a/2")
    assert second.traceparent.startswith("00-")
    assert second.body["payload"] == {"orderId": "a", "line": 2}


async def test_one_bad_message_does_not_fail_its_batch(sender: Sender) -> None:
    sender.destination.problem = {"errors": [{"field": "payload.line", "error": "must not be odd"}]}
    sender.reply({2: 422, 3: 500, 4: 503, 5: 504})
    await sender.open(size=6)
    kinds = await sender.answered(1, 2, 3, 4, 5, 6)
    assert kinds == [None, Rejected, Transient, Unavailable, Unanswered, None]
    assert "payload.line: must not be odd" in str(sender.answers[2])
    assert len(sender.batches) == 1


async def test_an_older_sequence_in_a_batch_is_superseded(sender: Sender) -> None:
    sender.destination.problem = {"type": "/problems/older-sequence"}
    sender.reply({1: 409})
    await sender.open(size=2)
    assert await sender.answered(1, 2) == [Superseded, None]


async def test_a_message_without_a_result_is_unanswered_and_the_others_are_not(sender: Sender) -> None:
    sender.reply({2: "omit"})
    await sender.open(size=3)
    assert await sender.answered(1, 2, 3) == [None, Unanswered, None]


@pytest.mark.parametrize("reply", ["cut", 504])
async def test_a_batch_that_broke_is_unanswered_for_all_and_each_is_sent_alone(sender: Sender, reply: Reply) -> None:
    """One message in it may be what breaks the destination."""
    sender.destination.whole = lambda got: reply if any(one.sequence == 2 for one in got) else None
    await sender.open(size=3)
    assert await sender.answered(1, 2, 3) == [Unanswered] * 3
    assert await sender.answered(1, 2, 3) == [None, Unanswered, None]
    assert sender.batches == [[1, 2, 3], [1], [2], [3]]


async def test_later_is_unavailable_for_all_with_when_to_ask_again(sender: Sender) -> None:
    sender.destination.whole = lambda _got: 503
    sender.destination.headers = {"Retry-After": "7"}
    await sender.open(size=2)
    assert await sender.answered(1, 2) == [Unavailable] * 2
    assert {error.retry_after for error in sender.answers.values() if error} == {7}
    assert await sender.answered(1, 2) == [Unavailable] * 2
    assert sender.batches == [[1, 2], [1, 2]], "nothing is wrong with any of them"


@pytest.mark.parametrize(("status", "kind"), [(422, Rejected), (500, Transient)])
async def test_a_batch_refused_as_a_whole_is_sent_one_by_one_and_only_the_guilty_pays(
    sender: Sender, status: int, kind: type
) -> None:
    def whole(got: list[Got]) -> int | None:
        return status if any(one.sequence == 2 for one in got) else None

    sender.destination.whole = whole
    await sender.open(size=3)
    assert await sender.answered(1, 2, 3) == [Unanswered] * 3
    assert await sender.answered(1, 2, 3) == [None, kind, None]
    assert sender.batches == [[1, 2, 3], [1], [2], [3]]
    assert await sender.answered(4, 5, 6) == [None] * 3
    assert sender.batches[4:] == [[4, 5, 6]]


async def test_an_answer_without_results_says_so_and_delivers_nothing(sender: Sender) -> None:
    sender.destination.whole = lambda _got: 204
    await sender.open(size=2)
    assert await sender.answered(1, 2) == [Unanswered] * 2
    assert "no list of results" in str(sender.answers[1])


async def test_a_message_without_its_path_is_rejected_alone_and_not_sent(sender: Sender) -> None:
    await sender.open(path="/v1/orders/{number}", size=2, wait="50ms")
    sender.submit(1, values={"number": 1})
    assert await sender.answered(2, values={}) == [Rejected]
    await until(lambda: 1 in sender.answers)
    assert sender.batches == [[1]]


async def test_two_messages_of_one_id_go_in_two_batches(sender: Sender) -> None:
    await sender.open(size=3, wait="50ms")
    sender.reply({2: 422})
    sender.submit(1)
    sender.submit(2, message_id="id-1")
    await until(lambda: len(sender.answers) == 2)
    assert (sender.answers[1], type(sender.answers[2])) == (None, Rejected)
    assert sender.batches == [[1], [1]]


async def test_what_waits_for_a_free_request_becomes_a_larger_batch(sender: Sender) -> None:
    sender.destination.hold = 1.0
    await sender.open(concurrency=1, size=10, wait="10ms")
    sender.submit(1)
    await until(lambda: len(sender.batches) == 1)
    sender.destination.hold = 0.0
    for number in range(2, 7):
        sender.submit(number)
        await asyncio.sleep(0.02)
    await until(lambda: len(sender.answers) == 6)
    assert sender.batches == [[1], [2, 3, 4, 5, 6]]
    assert sender.adapter.capacity() == 10


async def test_closing_answers_what_was_collected_and_not_sent_as_unavailable(sender: Sender) -> None:
    await sender.open(size=10, wait="60s")
    sender.submit(1, 2)
    await sender.adapter.close()
    assert [type(sender.answers[number]) for number in (1, 2)] == [Unavailable] * 2
    assert sender.batches == []


async def test_results_that_cannot_be_read_concern_their_messages_only(sender: Sender) -> None:
    sender.reply({2: 99})
    await sender.open(size=3)
    assert await sender.answered(1, 2, 3) == [None, Unanswered, None]


async def test_what_may_not_go_any_more_leaves_its_batch_and_the_others_go(sender: Sender) -> None:
    await sender.open(size=3)
    sender.submit(1)
    sender.submit(2, may_go=lambda: False)
    sender.submit(3)
    await until(lambda: len(sender.answers) == 3)
    assert [type(sender.answers[number]) for number in (1, 2, 3)] == [type(None), Withheld, type(None)]
    assert sender.batches == [[1, 3]]
