"""The ledger's rate: a history of N events and N outcomes in a real Kafka, folded by a live ``linkspan ledger``, then
again by ``linkspan ledger rebuild --verify`` beside it while more comes in; records per core-second, and the digests.

    python -m bench.ledger [EVENTS] [sqlite:///… or postgresql://…]
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import psutil
import uuid_utils
from aiokafka import AIOKafkaProducer
from sqlalchemy import func, select

from bench.integration import FLOW, KEYS, NAME, PARTITIONS, write_integration
from bench.process import Process
from linkspan.broker import EmbeddedKafka
from linkspan.kernel.codec import OutcomeCodec
from linkspan.kernel.message import now_micros
from linkspan.kernel.spec_file import catalog_for, load_integration
from linkspan.kernel.topic_admin import ensure_topics
from linkspan.kernel.topics import FlowTopics, Headers
from linkspan.readmodel.database import live_build, open_database
from linkspan.readmodel.tables import offsets

#: Events a second that come in while it is folded again.
_MEANWHILE = 400
_VALUE = b"\xc3\x01" + b"x" * 1_000
_TRANSFORM = "7f" * 32


class History:
    """Written by hand, as ingress and an owner of epoch 1 would have; every hundredth message needed a second attempt,
    every thousandth is a dead letter."""

    def __init__(self, kafka: str, codec: OutcomeCodec) -> None:
        self._kafka, self._codec, self._topics = kafka, codec, FlowTopics.of(NAME, FLOW)
        self.events, self.outcomes = 0, 0

    async def write(self, count: int) -> None:
        """Goes on where it ended. A multiple of the partitions' number."""
        async with AIOKafkaProducer(bootstrap_servers=self._kafka, max_batch_size=1024 * 1024) as producer:
            first, each = self.events // PARTITIONS, count // PARTITIONS
            for partition in range(PARTITIONS):
                await self._send(producer, self._topics.events, partition, (self._event() for _ in range(each)))
                outcomes = (one for offset in range(first, first + each) for one in self._outcomes(offset))
                told = self._counted(chain([self._owner()], outcomes))
                await self._send(producer, self._topics.outcomes, partition, told)
        self.events += each * PARTITIONS

    async def go_on(self) -> None:
        """Until cancelled."""
        while True:
            await self.write(_MEANWHILE)
            await asyncio.sleep(1)

    def _counted(self, told: Iterable[Any]) -> Iterator[Any]:
        for one in told:
            self.outcomes += 1
            yield one

    async def _send(self, producer: AIOKafkaProducer, topic: str, partition: int, records: Any) -> None:
        batch = producer.create_batch()
        for key, value, headers in records:
            while batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
                await producer.send_batch(batch, topic, partition=partition)
                batch = producer.create_batch()
        await (await producer.send_batch(batch, topic, partition=partition))

    def _event(self) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
        self._ids = (str(uuid_utils.uuid7()), str(uuid_utils.uuid7()))
        headers = [
            (Headers.MESSAGE_ID, self._ids[0].encode()),
            (Headers.CORRELATION_ID, self._ids[1].encode()),
            (Headers.TYPE, b"Order"),
            (Headers.TRACEPARENT, f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01".encode()),
            (Headers.SCHEMA, b"1"),
            (Headers.DIGEST, secrets.token_bytes(8)),
            (Headers.PRIORITY, b"normal"),
            (Headers.ACCEPTED_AT, b"%d" % now_micros()),
        ]
        return b"order-%d" % secrets.randbelow(KEYS), _VALUE, headers

    def _owner(self) -> tuple[None, bytes, list[tuple[str, bytes]]]:
        value = self._codec.encode({"kind": "owner", "offset": -1, "at": now_micros(), "epoch": 1})
        return None, value, [(Headers.KIND, b"owner"), (Headers.EPOCH, b"1")]

    def _outcomes(self, offset: int) -> list[tuple[bytes, bytes, list[tuple[str, bytes]]]]:
        last = "dead_lettered" if offset % 1_000 == 7 else "delivered"
        kinds = ["attempt_failed", last] if offset % 100 == 7 else [last]
        return [self._outcome(kind, offset, attempt) for attempt, kind in enumerate(kinds)]

    def _outcome(self, kind: str, offset: int, attempt: int) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
        now, message_id = now_micros(), str(uuid_utils.uuid7())
        failure = None if kind == "delivered" else "rejected"
        value = self._codec.encode(
            {
                "kind": kind,
                "offset": offset,
                "messageId": message_id,
                "correlationId": message_id,
                "key": "order-1",
                "at": now,
                "epoch": 1,
                "attempt": attempt,
                "failure": failure,
                "reason": failure and "422: the store says that it does not know this order",
                "destination": "store",
                "acceptedAt": now,
                "sentAt": now,
                "transform": _TRANSFORM,
            }
        )
        headers = [
            (Headers.KIND, kind.encode()),
            (Headers.OFFSET, b"%d" % offset),
            (Headers.EPOCH, b"1"),
            (Headers.MESSAGE_ID, message_id.encode()),
            (Headers.CORRELATION_ID, message_id.encode()),
            (Headers.DIGEST, message_id[:8].encode()),
        ]
        return b"order-1", value, headers


def say(what: str, folded: int, seconds: float, cpu: float) -> None:
    load, rate = os.getloadavg()[0], folded / cpu
    print(
        f"{what}: {rate:,.0f} records per core-second ({folded} in {seconds:.1f} s, {cpu:.1f} s CPU, load {load:.1f})"
    )


class Live:
    """``linkspan ledger`` from the start of its process, so that its imports count."""

    def __init__(self, file: Path, environ: dict[str, str], url: str) -> None:
        command = [sys.executable, "-m", "linkspan", "ledger", str(file), "--port", "0"]
        self._began, self._process = time.monotonic(), Process("ledger", command, file.parent, environ)
        self._process.ready("ready http://")
        self._database = open_database(url)

    def folded(self) -> int:
        columns = func.sum(offsets.c.events), func.sum(offsets.c.outcomes)
        with self._database.reading() as connection:
            here = offsets.c.build == live_build(connection)
            return sum(int(one or 0) for one in connection.execute(select(*columns).where(here)).one())

    async def caught_up(self, records: int) -> None:
        while self.folded() < records:  # noqa: ASYNC110 - another process gets there
            await asyncio.sleep(0.5)
        say("live", records, time.monotonic() - self._began, self._process.cpu())

    def stop(self) -> None:
        self._database.close()
        self._process.stop()


async def rebuild(file: Path, environ: dict[str, str], *arguments: str) -> None:
    """Says what the command said, and what it took. Ends the run where the content was not the same."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "linkspan", "ledger", "rebuild", str(file), *arguments),
        stdout=asyncio.subprocess.PIPE,
        env=environ,
    )
    assert process.stdout
    cpu, folded, seconds = 0.0, 0, 0.0
    async for raw in process.stdout:
        line = raw.decode().strip()
        if " is live: " in line:  # what comes then is the removal of the build before
            times = psutil.Process(process.pid).cpu_times()
            cpu, seconds, folded = times.user + times.system, time.monotonic() - began, int(line.split()[4])
        print(f"  {line}", flush=True)
    if await process.wait():
        raise SystemExit("linkspan ledger rebuild failed")
    say("rebuild", folded, seconds, cpu)


async def measure(file: Path, environ: dict[str, str], url: str, history: History, events: int) -> None:
    began = time.monotonic()
    await history.write(events)
    print(
        f"{events} events and {history.outcomes} records of outcomes written in {time.monotonic() - began:.0f} s",
        flush=True,
    )
    live = Live(file, environ, url)
    try:
        await live.caught_up(history.events + history.outcomes)
        meanwhile = asyncio.create_task(history.go_on())
        await rebuild(file, environ, "--verify")
        meanwhile.cancel()
    finally:
        live.stop()


async def run(directory: Path, events: int, url: str) -> None:
    file = write_integration(directory, NAME, 9)
    environ = os.environ | {"LINKSPAN_DATA": str(directory), "LINKSPAN_DATABASE_URL": url}
    integration = load_integration(file, environ)
    with EmbeddedKafka(directory / "kafka") as kafka:
        await ensure_topics(kafka.bootstrap, integration)
        history = History(kafka.bootstrap, OutcomeCodec(catalog_for(integration)))
        await measure(file, environ | {"MESSAGE_QUEUE_URL": f"kafka://{kafka.bootstrap}"}, url, history, events)


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as directory:
        url = sys.argv[2] if len(sys.argv) > 2 else f"sqlite:///{directory}/ledger.db"
        asyncio.run(run(Path(directory), events, url))


if __name__ == "__main__":
    main()
