"""An appender and its spool without a connection: what it would send stays in the lanes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from linkspan.ingress.append.appender import Appender
from linkspan.ingress.append.lane import Record
from linkspan.ingress.append.spool import Spool
from linkspan.kernel.kafka.clients import KafkaClients

GIB = 1024**3


def flow(name: str = "orders", away: str = "spool") -> Any:
    spec = SimpleNamespace(partitions=1, when_kafka_is_away=away)
    return SimpleNamespace(name=name, spec=spec, topics=SimpleNamespace(events=f"x.{name}.events"))


class Answers:
    """What became of each record: `kafka`, `spool` or the error's text."""

    def __init__(self) -> None:
        self.of: dict[int, str] = {}

    def record(self, number: int, *, may_spool: bool = True) -> Record:
        def settled(error: Any, spooled: bool) -> None:
            assert number not in self.of
            self.of[number] = str(error) if error else "spool" if spooled else "kafka"

        return Record(b"key", b"%d" % number, [("accepted-seq", b"%d" % number)], 1000 + number, settled, may_spool)


@asynccontextmanager
async def running(
    folder: Path, *flows: Any, limit: int = GIB, reserve: int = 0
) -> AsyncIterator[tuple[Appender, Spool]]:
    """The appender without its connection: what it would send stays in the lanes."""
    flows = flows or (flow(),)
    spool = Spool(folder, [one.name for one in flows], GIB, reserve)

    async def prepare() -> None:
        raise AssertionError

    writing = asyncio.create_task(spool.run())
    try:
        yield Appender(KafkaClients("127.0.0.1:9"), flows, 1, prepare, spool, grace=0), spool
    finally:
        await spool.close()
        writing.cancel()


def lane_of(appender: Appender, name: str = "orders") -> Any:
    return appender._lanes[name][0]


@asynccontextmanager
async def draining(appender: Appender) -> AsyncIterator[None]:
    appender._serving = True
    appender._found()
    assert appender._drain
    task = asyncio.create_task(appender._drain.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def taken(appender: Appender) -> list[int]:
    """Numbers of the records that wait in the lane; Kafka has them."""
    numbers = []
    for record in lane_of(appender).give_back():
        numbers.append(int(record.value))
        record.settled(None, False)
    return numbers
