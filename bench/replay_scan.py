"""The planning rate of a replay: N events with their outcomes in a real Kafka, read by the planner process, once for a
time range, where headers decide, and once with a predicate, where each value is read; the same topics are read by a
plain ``getmany`` consumer in a process of its own beside it. Records per second of CPU time, and ratios.

    python -m bench.replay_scan [EVENTS]
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil
from tests.event_encoder import EventEncoder

from bench.integration import FLOW, NAME, PARTITIONS, write_integration
from bench.ledger import History
from linkspan.broker import EmbeddedKafka
from linkspan.kernel.blobs import BlobStore
from linkspan.kernel.codec import OutcomeCodec
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.message import new_id, now_micros
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_file import catalog_for, load_integration
from linkspan.kernel.topic_admin import ensure_topics
from linkspan.kernel.topics import FlowTopics
from linkspan.replay.process import Planners
from linkspan.replay.selection import Selection
from linkspan.replay.wire import PlanJob, to_line

PREDICATE = "payload.line % 10 = 3 and header.source = 'shop'"
_PLAIN = "plain"


def readable_history(kafka: str, catalog: SchemaCatalog) -> History:
    """``bench.ledger``'s, with events that can be read."""
    history = History(kafka, OutcomeCodec(catalog))
    encoder, made = EventEncoder(catalog, NAME, "Order"), history._event  # noqa: SLF001
    values = [
        encoder.encode(
            {
                "header": {"messageId": str(uuid.uuid4()), "timestamp": now_micros(), "source": "shop"}
                | {"destination": "store", "messageType": "event", "type": "Order", "version": "1.0"},
                "payload": {"orderId": str(uuid.uuid4()), "line": line, "text": "x" * 700},
                "metadata": {"correlationId": str(uuid.uuid4()), "priority": "normal", "ttl": None, "retryCount": 0}
                | {"defaulted": []},
            }
        ).value
        for line in range(100)
    ]
    numbers = iter(range(1 << 60))

    def event() -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
        key, _, headers = made()
        return key, values[next(numbers) % 100], headers

    history._event = event  # type: ignore[method-assign] # noqa: SLF001
    return history


def measured(command: list[str], line: bytes) -> tuple[list[bytes], float, float]:
    """What it answered, its CPU and wall seconds; from its first answer on, so that its start does not count."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    process.stdin.write(line + b"\n")
    process.stdin.flush()
    seen, first = psutil.Process(process.pid), process.stdout.readline()
    with suppress(psutil.AccessDenied):
        seen.nice(0)  # a planner steps back; on a busy machine it would never end
    lines, cpu, began = [first], _cpu(seen), time.monotonic()
    last = cpu
    for answer in process.stdout:
        lines.append(answer)
        last = _cpu(seen)
    process.wait()
    return lines, last - cpu, time.monotonic() - began


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def plain(servers: str) -> None:
    """Reads both topics with aiokafka's usual consumer, and looks at nothing."""
    topics = FlowTopics.of(NAME, FLOW)
    from aiokafka import AIOKafkaConsumer, TopicPartition

    wanted = [TopicPartition(topic, n) for topic in (topics.outcomes, topics.events) for n in range(PARTITIONS)]
    reader = AIOKafkaConsumer(
        bootstrap_servers=servers, auto_offset_reset="earliest", max_partition_fetch_bytes=8 * 1024 * 1024
    )
    await reader.start()
    read = 0
    print(read, flush=True)
    for tp in wanted:
        reader.assign([tp])
        end = (await reader.end_offsets([tp]))[tp]
        await reader.seek_to_beginning(tp)
        while await reader.position(tp) < end:
            read += sum(len(one) for one in (await reader.getmany(tp, timeout_ms=1_000)).values())
    print(read, flush=True)
    await reader.stop()


def rate(name: str, records: int, cpu: float, wall: float) -> float:
    print(f"{name}: {records / cpu:,.0f} records per core-second ({records:,} in {wall:.1f} s, {cpu:.1f} s CPU)")
    return records / cpu


def planned(name: str, job: PlanJob) -> float:
    lines, cpu, wall = measured([sys.executable, "-m", "linkspan.replay.worker"], to_line(job))
    answers = [msgspec.json.decode(line) for line in lines]
    assert answers[-1]["type"] == "frozen", answers[-1]
    first, last = answers[0], answers[-2]
    print(f"  selected {last['selected']:,}")
    return rate(name, last["scanned"] - first["scanned"], cpu, wall)


def compare(integration: Integration, catalog: SchemaCatalog, kafka: str, directory: Path, since: int) -> None:
    planners = Planners(KafkaClients(kafka), integration, catalog, BlobStore(str(directory / "blobs")))
    until = now_micros()
    middle = (since + until) // 2
    for _ in range(2):
        lines, cpu, wall = measured([sys.executable, "-m", "bench.replay_scan", _PLAIN, kafka], b"")
        peer = rate("plain getmany", int(lines[-1]), cpu, wall)
        asked = Selection(FLOW, until=middle)
        ours = planned("time range, headers decide", PlanJob(planners.setting, new_id(), asked))
        print(f"ratio replay-scan-headers {ours / peer:.2f}")
        asked = Selection(FLOW, predicate=PREDICATE)
        ours = planned("predicate, values are read", PlanJob(planners.setting, new_id(), asked))
        print(f"ratio replay-scan-predicate {ours / peer:.2f}  (load {os.getloadavg()[0]:.1f})")


async def run(directory: Path, events: int) -> None:
    file = write_integration(directory, NAME, 9)
    integration = load_integration(file, os.environ)
    catalog = catalog_for(integration)
    with EmbeddedKafka(directory / "kafka") as kafka:
        await ensure_topics(kafka.bootstrap, integration)
        began, since = time.monotonic(), now_micros()
        await readable_history(kafka.bootstrap, catalog).write(events)
        print(f"{events} events and their outcomes written in {time.monotonic() - began:.0f} s", flush=True)
        await asyncio.to_thread(compare, integration, catalog, kafka.bootstrap, directory, since)


def main() -> None:
    if sys.argv[1:2] == [_PLAIN]:
        sys.stdin.buffer.readline()
        asyncio.run(plain(sys.argv[2]))
        return
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(run(Path(directory), events))


if __name__ == "__main__":
    main()
