"""The ledger's rate: a history of N events and N outcomes in a real Kafka, folded by ``linkspan ledger rebuild``, then
again with ``--verify`` beside the first; records per second of CPU time, and the digests.

    python -m bench.ledger [EVENTS] [sqlite:///… or postgresql://…]
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import uuid_utils
from aiokafka import AIOKafkaProducer

from bench.integration import FLOW, KEYS, NAME, PARTITIONS, write_integration
from linkspan.broker import EmbeddedKafka
from linkspan.kernel.codec import OutcomeCodec
from linkspan.kernel.message import now_micros
from linkspan.kernel.spec_file import catalog_for, load_integration
from linkspan.kernel.topic_admin import ensure_topics
from linkspan.kernel.topics import FlowTopics, Headers

_VALUE = b"\xc3\x01" + b"x" * 1_000
_TRANSFORM = "7f" * 32


class History:
    """Written by hand, as ingress and an owner of epoch 1 would have; every hundredth message needed a second attempt,
    every thousandth is a dead letter."""

    def __init__(self, kafka: str, codec: OutcomeCodec) -> None:
        self._kafka, self._codec, self._topics = kafka, codec, FlowTopics.of(NAME, FLOW)

    async def write(self, count: int) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self._kafka, max_batch_size=1024 * 1024) as producer:
            each = count // PARTITIONS
            for partition in range(PARTITIONS):
                await self._send(producer, self._topics.events, partition, (self._event() for _ in range(each)))
                told = (one for offset in range(each) for one in self._outcomes(offset))
                await self._send(producer, self._topics.outcomes, partition, [self._owner(), *told])

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


async def rebuild(file: Path, environ: dict[str, str], *arguments: str) -> None:
    """Says what the command said, and what it took."""
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
        print(f"  {line}")
    await process.wait()
    load = os.getloadavg()[0]
    print(
        f"{folded / cpu:,.0f} records per core-second ({folded} in {seconds:.1f} s, {cpu:.1f} s CPU, load {load:.1f})"
    )


async def run(directory: Path, events: int, url: str) -> None:
    file = write_integration(directory, NAME, 9)
    environ = os.environ | {"LINKSPAN_DATA": str(directory), "LINKSPAN_DATABASE_URL": url}
    integration = load_integration(file, environ)
    with EmbeddedKafka(directory / "kafka") as kafka:
        await ensure_topics(kafka.bootstrap, integration)
        began = time.monotonic()
        await History(kafka.bootstrap, OutcomeCodec(catalog_for(integration))).write(events)
        print(f"{events} events and their outcomes written in {time.monotonic() - began:.0f} s")
        environ["MESSAGE_QUEUE_URL"] = f"kafka://{kafka.bootstrap}"
        await rebuild(file, environ)
        await rebuild(file, environ, "--verify")


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as directory:
        url = sys.argv[2] if len(sys.argv) > 2 else f"sqlite:///{directory}/ledger.db"
        asyncio.run(run(Path(directory), events, url))


if __name__ == "__main__":
    main()
