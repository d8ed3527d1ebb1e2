"""Delivery by HTTP in batches: messages are collected until there are enough, or the first has waited long enough."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

import uuid_utils

from linkspan.egress.deliver.adapter import Answered, Delivery
from linkspan.egress.deliver.batch_form import batch_body, read_results
from linkspan.egress.deliver.batch_spans import BatchSpans
from linkspan.egress.deliver.http_answer import http_error
from linkspan.egress.deliver.rest import Job, RestAdapter
from linkspan.egress.partition.answer import Unanswered, Withheld
from linkspan.kernel.crypto.withheld import Secrets, told
from linkspan.kernel.errors import DeliveryError, FailureClass, Unavailable
from linkspan.kernel.http.bounded import BODY_LIMIT
from linkspan.kernel.http.paths import PathTemplate
from linkspan.kernel.spec import Deliver, System
from linkspan.kernel.telemetry.traces import UNTRACED

#: Bytes that the answer to a batch may have for each message, beside those of any answer.
_RESULT_BYTES = 4 * 1024
#: Bytes of the messages in one request at most, but for one that is longer alone.
_MOST_BYTES = 8 * 1024 * 1024
#: Message ids that are remembered to be sent alone.
_MOST_ALONE = 50_000


class Collected(Delivery, frozen=True, kw_only=True):
    """A batch on its way. ``results``: what the answer said of each message, by id."""

    jobs: list[Job]
    results: dict[str, DeliveryError | None]


class BatchAdapter(RestAdapter):
    """Takes single deliveries, as every adapter does. Of one message id, a batch has one delivery.

    A request that failed as a whole for what may be in it (4xx, 500, a broken connection, no answer) says nothing about
    any one message: each of them is sent alone the next time, and only then is such an answer about it. ``longest``:
    seconds that a message may wait for others, whatever ``batch.wait`` says.
    """

    def __init__(self, system: System, deliver: Deliver, longest: float, spans: BatchSpans | None = None) -> None:
        super().__init__(system, deliver)
        if deliver.batch is None:
            raise ValueError("no batch is asked for")
        self._single, self._spans = self._path, spans
        self._path = PathTemplate(deliver.batch.path or deliver.path)
        self._size = self.together = deliver.batch.size
        self._wait = min(deliver.batch.wait, longest)
        self._body_limit = BODY_LIMIT + self._size * _RESULT_BYTES
        self._collecting: dict[str, tuple[Job, str, float]] = {}
        self._bytes = 0
        self._alone: set[str] = set()
        self._requests = 0
        self._timer: asyncio.TimerHandle | None = None

    def capacity(self) -> int:
        return self._concurrency * self._size - self._in_flight

    def submit(self, delivery: Delivery, answered: Answered) -> None:
        self._in_flight += 1
        message_id = delivery.message_id
        try:
            path = self._single.fill(delivery.values)
        except DeliveryError as error:
            self._settle((delivery, answered), error)
            return
        job = delivery, answered
        if message_id in self._alone:
            self._alone.discard(message_id)
            self._send([(job, path)])
        else:
            if message_id in self._collecting:
                self._flush()
            self._collecting[message_id] = job, path, asyncio.get_running_loop().time()
            self._bytes += len(delivery.body)
            self._see()

    def _see(self) -> None:
        """Sends what is due as far as requests are free; what waits for a free one makes a larger batch."""
        now = asyncio.get_running_loop().time()
        while self._requests < self._concurrency and self._is_due(now):
            self._flush()
        if self._timer is None and self._collecting and self._requests < self._concurrency:
            self._timer = asyncio.get_running_loop().call_at(self._due_at(), self._timed)

    def _is_due(self, now: float) -> bool:
        full = len(self._collecting) >= self._size or self._bytes >= _MOST_BYTES
        return full or (bool(self._collecting) and self._due_at() <= now)

    def _due_at(self) -> float:
        _, _, since = next(iter(self._collecting.values()))
        return since + self._wait

    def _timed(self) -> None:
        self._timer = None
        self._see()

    def _flush(self) -> None:
        """The oldest that waited, one request full of them."""
        taken: list[tuple[Job, str]] = []
        size = 0
        for message_id, (job, path, _) in tuple(self._collecting.items()):
            size += len(job[0].body)
            if len(taken) >= self._size or (taken and size > _MOST_BYTES):
                break
            del self._collecting[message_id]
            self._bytes -= len(job[0].body)
            if job[0].may_go():
                taken.append((job, path))
            else:
                self._settle(job, Withheld("it waited for others until its partition may not be ours any more"))
        if taken:
            self._send(taken)

    def _send(self, items: list[tuple[Job, str]]) -> None:
        jobs = [job for job, _ in items]
        self._requests += 1
        batch = Collected(
            str(uuid_utils.uuid7()),
            None,
            None,
            -1,
            any(one.redelivery for one, _ in jobs),
            "",
            max(one.attempt for one, _ in jobs),
            {},
            batch_body((job[0], path) for job, path in items),
            may_go=lambda: all(one.may_go() for one, _ in jobs),
            traced=self._spans.begin([one for one, _ in jobs]) if self._spans else UNTRACED,
            secrets=Secrets.together(one.secrets for one, _ in jobs),
            jobs=jobs,
            results={},
        )
        self._jobs.put_nowait((batch, _of_no_use))

    def _fields(self, delivery: Delivery) -> dict[str, str]:
        fields = {"Content-Type": "application/json", "X-Request-ID": delivery.message_id}
        if delivery.traced.traceparent:
            fields["traceparent"] = delivery.traced.traceparent
        return fields

    def _judged(self, delivery: Delivery, status: int, headers: Mapping[str, str], body: bytes) -> DeliveryError | None:
        error = http_error(status, headers, body)
        if not isinstance(delivery, Collected) or (error and error.failure is FailureClass.UNAVAILABLE):
            return error
        if error is None:
            results = read_results(body)
            if results is None:
                return Unanswered("the answer to a batch has no list of results: see Batches in integration-file.md")
            delivery.results.update({name: told(one, delivery.secrets) for name, one in results.items()})
            return None
        if len(delivery.jobs) == 1:
            return error
        return Unanswered(f"the batch was refused as a whole, so each is sent alone: {error.reason}")

    def _send_alone(self, message_ids: Iterable[str]) -> None:
        if len(self._alone) > _MOST_ALONE:
            self._alone.clear()  # of partitions that are no longer ours, mostly
        self._alone.update(message_ids)

    def _answer(self, delivery: Delivery, answered: Answered, error: DeliveryError | None) -> None:
        if not isinstance(delivery, Collected):
            super()._answer(delivery, answered, error)
            return
        self._requests -= 1
        BatchSpans.end(delivery.traced, error)
        if isinstance(error, Unanswered) and len(delivery.jobs) > 1:
            self._send_alone(one.message_id for one, _ in delivery.jobs)
        missing = Unanswered("the answer to its batch has no result for it")
        said = [(job, error or delivery.results.get(job[0].message_id, missing)) for job in delivery.jobs]
        for job, answer in sorted(said, key=lambda one: one[1] is not None):  # a success tells the breaker most
            self._settle(job, answer)
        self._see()
        self.wake()

    def _settle(self, job: Job, error: DeliveryError | None) -> None:
        delivery, answered = job
        self._in_flight -= 1
        answered(delivery, error)

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        collected = [job for job, _, _ in self._collecting.values()]
        self._collecting.clear()
        for job in collected:
            self._settle(job, Unavailable("stopping"))
        await super().close()


def _of_no_use(_delivery: Delivery, _error: DeliveryError | None) -> None:
    """A batch is answered message by message."""
