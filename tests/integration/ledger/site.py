"""An integration whose topics a test writes by hand, and ledger workers beside it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiokafka import AIOKafkaProducer
from sqlalchemy import func, select
from tests.integration.egress.bridge import FLOW, Bridge, order_id

from linkspan.kernel.message import now_micros
from linkspan.kernel.records.parked import copy_key
from linkspan.kernel.records.position import Position
from linkspan.kernel.records.state import POSITION, StateCodec
from linkspan.kernel.schemas import SchemaCatalog, packaged_schemas
from linkspan.kernel.topics import Headers, partition_of
from linkspan.readmodel.database import Database, open_database
from linkspan.readmodel.queries import Queries
from linkspan.readmodel.tables import counters, ledger, messages, offsets, ranges

#: Seconds; CI's machine is slow and shared.
PATIENCE = 60.0


class Site(Bridge):
    """``url``: of the ledger's database."""

    def __init__(self, path: Any, bootstrap: str, url: str) -> None:
        super().__init__(path, bootstrap)
        self.url = url
        self.database: Database = open_database(url)
        self.queries = Queries(self.database)

    @property
    def name(self) -> str:
        return self.integration.integration

    async def send(self, topic: str, partition: int, *records: tuple[bytes | None, bytes | None, list[Any]]) -> int:
        """(key, value, headers); the offset of the last."""
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all") as producer:
            waiting = [
                await producer.send(topic, value, key, partition, headers=headers) for key, value, headers in records
            ]
            return max(one.offset for one in await asyncio.gather(*waiting))

    async def outcomes(self, partition: int, *said: tuple[str, int, int], **more: Any) -> int:
        """(kind, event offset, epoch)."""
        return await self.send(self.topics.outcomes, partition, *(self.outcome(*one, **more) for one in said))

    def outcome(
        self, kind: str, offset: int, epoch: int = 1, **more: Any
    ) -> tuple[bytes | None, bytes, list[tuple[str, bytes]]]:
        until, plan, key = more.pop("until", -1), more.get("plan"), more.pop("record_key", None)
        datum = {"kind": kind, "offset": offset, "at": now_micros(), "epoch": epoch, "destination": "store"} | more
        headers = [(Headers.KIND, kind.encode()), (Headers.EPOCH, b"%d" % epoch)]
        if offset >= 0:
            headers.append((Headers.OFFSET, b"%d" % offset))
        if plan:
            headers.append((Headers.PLAN, plan.encode()))
        if until >= 0:
            headers.append((Headers.UNTIL, b"%d" % until))
        return key, self.outcomes_codec.encode(datum), headers

    async def traffic(self, count: int, start: int = 0, keys: int = 20) -> None:
        """Events, and a ``delivered`` for each, as an owner of epoch 1 would write it."""
        accepted: list[tuple[int, Any]] = []
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", linger_ms=5) as producer:
            for number in range(start, start + count):
                key = order_id(number % keys)
                value, headers = self.event(key, number)
                partition = partition_of(key.encode(), self.partitions)
                sent = await producer.send(self.topics.events, value, key.encode(), partition, headers=headers)
                accepted.append((partition, sent))
            await producer.flush()
            for partition, sent in accepted:
                offset = (await sent).offset
                key, value, headers = self.outcome("delivered", offset)
                await producer.send(self.topics.outcomes, value, key, partition, headers=headers)
            await producer.flush()

    async def position(self, partition: int, events: int, outcomes: int = 0) -> None:
        codec = StateCodec(SchemaCatalog(packaged_schemas()))
        value = codec.encode(Position(events=events, outcomes=outcomes))
        await self.send(self.topics.state, partition, (POSITION, value, []))

    async def park(self, partition: int, offset: int, kind: str, key: str) -> None:
        value, headers = self.event(key, offset)
        ours = {
            Headers.PARKED_KIND: kind,
            Headers.PARKED_AT: str(now_micros()),
            Headers.PARKED_EPOCH: "1",
            Headers.PARKED_ATTEMPTS: "3",
            Headers.PARKED_KEY: key,
            Headers.PARKED_FAILURE: "rejected",
            Headers.PARKED_REASON: "no such order",
        }
        headers += [(name, text.encode()) for name, text in ours.items()]
        await self.send(self.topics.parked, partition, (copy_key(offset), value, headers))

    async def counts(self) -> dict[str, int]:
        """Of all partitions; those that are not 0."""
        found: dict[str, int] = {}
        for one in await self.queries.counts(FLOW):
            found[one.status] = found.get(one.status, 0) + one.count
        return {status: count for status, count in found.items() if count}

    async def settled(self, wanted: dict[str, int], within: float = PATIENCE) -> None:
        """Waits until the counts are ``wanted``."""
        last: Any = None

        async def there() -> bool:
            nonlocal last
            with suppress(Exception):
                last = await self.counts()
            return last == wanted

        await eventually(there, within, lambda: f"{last} is not {wanted}")
        self.check_counters()

    def is_folded(self, events: int) -> Callable[[], Any]:
        """Whether so many events are folded, and as many outcomes or more as the logs have."""

        async def there() -> bool:
            found = await self.queries.folded()
            return sum(one.events for one in found) >= events and not any(one.lag for one in found)

        return there

    def check_counters(self) -> None:
        """They say what the tables hold."""
        with self.database.reading() as connection:
            rows = select(messages.c.stream, messages.c.status, func.count()).group_by(
                messages.c.stream, messages.c.status
            )
            wanted = {(stream, status): count for stream, status, count in connection.execute(rows)}
            for stream, missing in connection.execute(select(ranges.c.stream, ranges.c.missing)):
                wanted[stream, "expired"] = wanted.get((stream, "expired"), 0) + missing
            kept = connection.execute(select(counters).where(counters.c.count != 0, counters.c.status != "repeats"))
            assert {(stream, status): count for stream, status, count in kept} == {
                name: count for name, count in wanted.items() if count
            }

    def builds(self) -> dict[int, str]:
        with self.database.reading() as connection:
            return {row.build: row.state for row in connection.execute(select(ledger))}

    def offsets(self) -> list[Any]:
        with self.database.reading() as connection:
            return list(connection.execute(select(offsets).order_by(offsets.c.stream)))

    @asynccontextmanager
    async def ledger(self, *arguments: str, **environ: str) -> AsyncIterator[LedgerProcess]:
        process = LedgerProcess(self, arguments, environ)
        await process.start()
        try:
            yield process
        finally:
            await process.stop()


class LedgerProcess:
    """``linkspan ledger`` as a process of its own."""

    def __init__(self, site: Site, arguments: tuple[str, ...] = (), environ: dict[str, str] | None = None) -> None:
        self._site, self._arguments, self._environ = site, arguments, environ or {}
        self.address, self.log = "", list[str]()

    async def start(self, ready: bool = True) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "linkspan", "ledger", str(self._site.path), "--port", "0", *self._arguments),
            env=environment(self._site) | self._environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self._drain = asyncio.create_task(self._read_log())
        if ready:
            await self.ready()

    async def ready(self) -> None:
        assert self._process.stdout
        line = (await asyncio.wait_for(self._process.stdout.readline(), PATIENCE)).decode()
        assert line.startswith("ready http://"), (line, self.log)
        self.address = line.split()[1]

    async def _read_log(self) -> None:
        assert self._process.stderr
        async for line in self._process.stderr:
            self.log.append(line.decode().rstrip())

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def stop(self) -> int:
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(self._process.wait(), PATIENCE)
        await self._drain
        return code


def environment(site: Site) -> dict[str, str]:
    return os.environ | {
        "MESSAGE_QUEUE_URL": f"kafka://{site.bootstrap}",
        "LINKSPAN_DATA": str(site.path.parent / "data"),
        "LINKSPAN_DATABASE_URL": site.url,
        "LINKSPAN_SESSION_SECONDS": "6",
    }


async def eventually(there: Callable[[], Any], within: float, said: Callable[[], str]) -> None:
    end = time.monotonic() + within
    while not await there():
        assert time.monotonic() < end, said()
        await asyncio.sleep(0.1)
