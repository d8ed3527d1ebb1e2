"""Breaker and partition put together as the pipeline does, against a destination in virtual time."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from linkspan.egress.partition.answer import Unanswered
from linkspan.egress.partition.lanes import Message
from linkspan.egress.partition.memory import Memory
from linkspan.egress.partition.state import PartitionState
from linkspan.egress.partition.window import WindowLimits
from linkspan.kernel.errors import DeliveryError, Transient, Unavailable
from linkspan.kernel.resilience.breaker import Breaker, Mode, Ticket
from linkspan.kernel.resilience.retry import RetryPolicy

ATTEMPTS = 3
TIMEOUT = 10.0
LIMITS = WindowLimits(messages=40)
#: How a destination fails: after how many seconds (None: its usual time), and with what.
FAILURES: dict[str, tuple[float | None, Callable[[], DeliveryError]]] = {
    "refused": (0.001, lambda: Unavailable("no connection")),
    "silent": (TIMEOUT, lambda: Unanswered("no answer in time")),
    "cut": (None, lambda: Unanswered("the connection broke")),
    "500": (None, lambda: Transient("500")),
    "503": (None, lambda: Unavailable("503", retry_after=3.0)),
}


@dataclass
class World:
    """``outages``: (from, to, how); ``bad``: offset -> how; ``keys``: of each event; ``arrive``: seconds between them.

    After ``run``: ``ends`` (offset -> outcome and when), ``charges`` by offset, ``tries`` (when, offset), ``load``
    (when, attempts under way).
    """

    keys: list[bytes | None]
    arrive: float
    outages: list[tuple[float, float, str]] = field(default_factory=list)
    bad: dict[int, str] = field(default_factory=dict)
    seed: int = 0
    full: int = 8
    latest: float = 1.0
    span: int = 200

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.retry = RetryPolicy(ATTEMPTS, 2.0, 60.0, random.Random(self.seed))
        self.breaker = Breaker(self.retry, self.full)
        self.state = PartitionState(self.retry, replace(LIMITS, span=self.span), Memory(), 0, hold=False)
        self.now, self.order = 0.0, itertools.count()
        self.queue: list[tuple[float, int, Callable[[], None]]] = []
        self.ends: dict[int, tuple[str, float]] = {}
        self.charges: Counter[int] = Counter()
        self.tries: list[tuple[float, int]] = []
        self._fetched = 0
        self.load: list[tuple[float, int]] = []
        self.most_unfinished = self.under_way = self.most_under_way = 0

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self.queue, (when, next(self.order), what))

    def run(self, until: float) -> World:
        waiting = iter(enumerate(self.keys))
        while len(self.ends) < len(self.keys) and self.now < until:
            self._fetch(waiting)
            self._pump()
            if self._fetch(waiting):
                continue
            wakes = [self.state.wake_at(), self.breaker.wake_at(), self._fetched * self.arrive]
            timer = min((at for at in wakes if at is not None and at > self.now), default=math.inf)
            if self.queue and self.queue[0][0] <= timer:
                self.now, _, what = heapq.heappop(self.queue)
                what()
            else:
                self.now = timer
        return self

    def _fetch(self, waiting: Iterator[tuple[int, bytes | None]]) -> bool:
        """False where there was nothing to fetch."""
        before = self._fetched
        while self._fetched * self.arrive <= self.now and self._fetched < len(self.keys) and self.state.wants_more():
            offset, key = next(waiting)
            self.state.fetched([Message(offset, key, None)])
            self._fetched += 1
        self.most_unfinished = max(self.most_unfinished, self.state.unfinished)
        return self._fetched > before

    def _pump(self) -> None:
        while budget := self.breaker.budget(self.now, self.full - self.under_way):
            taken = list(self.state.next_deliveries(budget, self.now))
            for message in taken:
                self._take(message)
            if not taken:
                return

    def _take(self, message: Message) -> None:
        doubt = message.doubt
        if doubt is not None and doubt.due:
            doubt.due = False
            self._record(message, self.state.charge(message, doubt.error))
            return
        ticket = self.breaker.submitted(doubt)
        self.tries.append((self.now, message.offset))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        self.load.append((self.now, self.under_way))
        takes, error = self._asked(message)
        self.at(self.now + takes, lambda: self._answered(message, ticket, error))

    def _asked(self, message: Message) -> tuple[float, DeliveryError | None]:
        """The destination decides half-way through the time that it takes."""
        usual = self.random.uniform(0.01, self.latest)
        decided = self.now + usual / 2
        away = next((how for start, end, how in self.outages if start <= decided < end), None)
        how = away or self.bad.get(message.offset)
        if how is None:
            return usual, None
        takes, error = FAILURES[how]
        return usual if takes is None else takes, error()

    def _answered(self, message: Message, ticket: Ticket, error: DeliveryError | None) -> None:
        self.under_way -= 1
        message.doubt = self.breaker.answered(ticket, error, self.now)
        self._record(message, self.state.answered(message, error, self.now, spared=True))

    def _record(self, message: Message, effect: object) -> None:
        if effect is None:
            return
        kind = effect.kind  # type: ignore[attr-defined]
        self.charges[message.offset] = message.charged
        if kind != "attempt_failed":
            assert message.offset not in self.ends
            self.ends[message.offset] = kind, self.now
        self.state.outcome_acked(effect, next(self.order))  # type: ignore[arg-type]

    @property
    def charged(self) -> dict[int, int]:
        return {offset: count for offset, count in self.charges.items() if count}

    def kinds(self) -> Counter[str]:
        return Counter(kind for kind, _ in self.ends.values())

    @property
    def closed(self) -> bool:
        return self.breaker.mode is Mode.CLOSED
