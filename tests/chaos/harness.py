"""Two owners of a flow's partitions, a steady load, a receiver that keeps its own record, and a way to stop an owner
exactly at a line of its log: the product has no hook for this, it only logs its steps at debug level."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaProducer
from tests.integration.egress.bridge import Bridge, EgressProcess, order_id
from tests.integration.egress.destinations import Got

from linkspan.kernel.records.epoch import Epoch
from linkspan.kernel.records.fact import FINISHING
from linkspan.kernel.topics import partition_of

KEYS = 12
Line = dict[str, Any]


class Owner(EgressProcess):
    """Stops itself, as seen from outside, at the first line that ``trap`` wants."""

    def __init__(self, bridge: Bridge, traps: Traps, session: float) -> None:
        super().__init__(bridge, (), {"LOG_LEVEL": "debug", "LINKSPAN_SESSION_SECONDS": str(session)})
        self._traps = traps

    async def _read_log(self) -> None:
        assert self._process.stderr
        async for raw in self._process.stderr:
            line = raw.decode().rstrip()
            if self._traps.catches(line):
                self.signal(signal.SIGSTOP)
                self._traps.caught(self)
            self.log.append(line)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)


class Traps:
    """At most one is set, and it catches once."""

    def __init__(self) -> None:
        self._wanted: dict[str, Any] | None = None
        self._skip = 0
        self._stopped: asyncio.Future[Owner]

    def set(self, wanted: dict[str, Any], skip: int = 0) -> None:
        """``skip``: lines that fit and are let pass first."""
        self._wanted, self._skip = wanted, skip
        self._stopped = asyncio.get_running_loop().create_future()

    def catches(self, text: str) -> bool:
        if self._wanted is None or not text.startswith("{"):
            return False
        line: Line = json.loads(text)
        if any(line.get(name) != value for name, value in self._wanted.items()):
            return False
        self._skip -= 1
        return self._skip < 0

    def caught(self, owner: Owner) -> None:
        self._wanted = None
        self._stopped.set_result(owner)

    async def victim(self, seconds: float) -> Owner:
        async with asyncio.timeout(seconds):
            return await self._stopped


@dataclass
class Load:
    """Lines 0, 1, 2, … of each key, ``rate`` messages a second, until ``stop``."""

    bridge: Bridge
    rate: float
    sent: list[tuple[str, int]] = field(default_factory=list)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        async with AIOKafkaProducer(
            bootstrap_servers=self.bridge.bootstrap, acks="all", enable_idempotence=True, request_timeout_ms=120_000
        ) as producer:
            while not self._stopping.is_set():
                number = len(self.sent)
                key, line = order_id(number % KEYS), number // KEYS
                value, headers = self.bridge.event(key, line)
                partition = partition_of(key.encode(), self.bridge.partitions)
                await producer.send_and_wait(self.bridge.topics.events, value, key.encode(), partition, headers=headers)
                self.sent.append((key, line))
                await asyncio.sleep(1 / self.rate)

    def stop(self) -> None:
        self._stopping.set()


@dataclass
class Verdict:
    """By the receiver's own record. ``behind``: arrived after something newer of its key; ``void``: outcomes that
    the epoch rule ignores; ``twice``: messages with more than one valid finishing outcome."""

    messages: int
    lost: int
    repeated: int
    unmarked: int
    behind: int
    void: int
    twice: int

    def line(self, what: str, faults: int) -> str:
        figures = f"{self.messages} | {faults} | {self.lost} | {self.repeated} | {self.unmarked} | {self.behind}"
        return f"| {what} | {figures} | {self.void} | {self.twice} |"


def judged(sent: list[tuple[str, int]], got: list[Got], outcomes: list[dict[str, Any]]) -> Verdict:
    newest: dict[str, int] = {}
    repeated = unmarked = behind = 0
    for one in got:
        key, line = one.order
        if line <= newest.get(key, -1):
            repeated += 1
            unmarked += not one.redelivery
            behind += line < newest[key]
        newest[key] = max(line, newest.get(key, -1))
    missing = set(sent) - {one.order for one in got}
    void, twice = accounted(outcomes)
    return Verdict(len(sent), len(missing), repeated, unmarked, behind, void, twice)


def accounted(outcomes: list[dict[str, Any]]) -> tuple[int, int]:
    """``outcomes`` of all partitions, each in its order: void ones, and messages finished more than once."""
    epochs: dict[int, Epoch] = {}
    finished: Counter[tuple[int, int]] = Counter()
    void = 0
    for one in outcomes:
        valid = epochs.setdefault(one["partition"], Epoch()).valid(one["kind"], one["epoch"])
        if one["kind"] in FINISHING:
            void += not valid
            finished[one["partition"], one["offset"]] += valid
    return void, sum(1 for count in finished.values() if count > 1)


async def until_quiet(done: Callable[[], bool], seconds: float) -> bool:
    """Waits for ``done``; False where it did not come."""
    try:
        async with asyncio.timeout(seconds):
            while not done():  # noqa: ASYNC110 - another process's doing
                await asyncio.sleep(0.1)
    except TimeoutError:
        return False
    return True
