"""``make bench-smoke``: about a minute, one line a path: ``ratio <path> <ours/peer>``, per core-second.

Everything runs on this machine over loopback; ours and the peer one after the other, on the same Kafka, with the same
load. A core-second is one of the process under test and its children, not of Kafka or of the load.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bench.integration import FLOW, NAME, PARTITIONS, PEER_EVENTS, PEER_OUTCOMES, message, write_integration
from bench.load import Load, open_loop, post
from bench.process import Process
from bench.receiver import Receiver
from linkspan.broker import EmbeddedKafka

SINGLE, BATCH = "/v1/messages", "/v1/messages:batch"
#: Seconds of each window at most, and messages of it.
INTAKE_SECONDS, DELIVERY_SECONDS, LATENCY_SECONDS = 4.0, 6.0, 5.0
SINGLES, BATCHES, PER_BATCH, WARM = 8_000, 150, 100, 300
LATENCY_RATE = 200
#: Messages per core-second that the design demands (performance.md), on its machine.
DEMANDS = {"intake-single": 10_000, "intake-batch": 35_000, "delivery-websocket": 14_000}


class Bench:
    """One run: where it is, and what each side came to, in messages per core-second."""

    def __init__(self, directory: Path, kafka: str, receiver: Receiver, file: Path, port: int) -> None:
        self.directory, self.kafka, self.receiver, self.file = directory, kafka, receiver, file
        self._numbers = itertools.count()
        self._environ = os.environ | {
            "MESSAGE_QUEUE_URL": f"kafka://{kafka}",
            "LINKSPAN_DATA": str(directory / "data"),
            "BENCH_KAFKA": kafka,
            "BENCH_FILE": str(file),
            "BENCH_RECEIVER": f"ws://127.0.0.1:{port}/",
        }

    def process(self, name: str, *command: str) -> Process:
        return Process(name, [sys.executable, "-m", *command], self.directory, self._environ)

    def linkspan(self, service: str) -> Process:
        return self.process(service, "linkspan", service, str(self.file), "--port", "0")

    def singles(self, count: int) -> Iterator[bytes]:
        return iter([post(SINGLE, message(next(self._numbers))) for _ in range(count)])

    def batches(self, count: int) -> Iterator[bytes]:
        return iter(
            [
                post(BATCH, b"[" + b",".join(message(next(self._numbers)) for _ in range(PER_BATCH)) + b"]")
                for _ in range(count)
            ]
        )

    def latency_bodies(self, count: int) -> Iterator[tuple[str, bytes]]:
        for _ in range(count):
            body = message(next(self._numbers))
            yield json.loads(body)["header"]["messageId"], body


async def intake(bench: Bench, process: Process, port: int) -> tuple[tuple[float, float], int]:
    """Messages per core-second, one a request and 100 a request; and how many were accepted in all."""
    warm, single, batch = (
        Load(port, bench.singles(WARM)),
        Load(port, bench.singles(SINGLES)),
        Load(port, bench.batches(BATCHES), 8),
    )
    await warm.run(INTAKE_SECONDS)
    one = await _window(process, single)
    many = await _window(process, batch) * PER_BATCH
    return (one, many), warm.answered + single.answered + batch.answered * PER_BATCH


async def _window(process: Process, load: Load) -> float:
    before = process.cpu()
    await load.run(INTAKE_SECONDS)
    return load.answered / max(1e-3, process.cpu() - before)


async def delivery(bench: Bench, process: Process) -> float:
    """Acknowledged frames per core-second, from a running start until the time is over or no more come."""
    receiver = bench.receiver
    if not await receiver.until(receiver.count + WARM, 40):
        raise SystemExit("nothing was delivered in 40 s; see the process's log")
    first, before = receiver.count, process.cpu()
    deadline, last, idle = time.monotonic() + DELIVERY_SECONDS, first, 0
    while time.monotonic() < deadline and idle < 5:
        await asyncio.sleep(0.1)
        idle, last = (idle + 1, last) if receiver.count == last else (0, receiver.count)
    return (receiver.count - first) / max(1e-3, process.cpu() - before)


async def latency(bench: Bench, ingress_port: int) -> tuple[float, float]:
    """Milliseconds from sending the request until the frame is at the destination: p50, p99."""
    receiver = bench.receiver
    receiver.remember, before = True, receiver.count
    count = int(LATENCY_RATE * LATENCY_SECONDS)
    sent = await open_loop(ingress_port, SINGLE, bench.latency_bodies(count), LATENCY_RATE)
    await receiver.until(before + count, 10)
    receiver.remember = False
    took = sorted((receiver.came[one] - at) * 1000 for one, at in sent.items() if one in receiver.came)
    if len(took) < count:
        raise SystemExit(f"latency: {count - len(took)} of {count} messages did not arrive")
    cuts = statistics.quantiles(took, n=100)
    return cuts[49], cuts[98]


async def make_peer_topics(kafka: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in (PEER_EVENTS, PEER_OUTCOMES)])
    finally:
        await admin.close()


async def run(directory: Path, kafka: str) -> None:
    receiver = Receiver()
    port = await receiver.start()
    bench = Bench(directory, kafka, receiver, write_integration(directory, port), port)
    await make_peer_topics(kafka)
    started: list[Process] = []
    try:
        ingress = bench.linkspan("ingress")
        peer = bench.process("fastapi", "bench.peers.intake_fastapi", kafka, str(bench.file))
        started += [ingress, peer]
        ingress_port = int(ingress.ready("ready ").rpartition(":")[2])
        peer_port = int(peer.ready("ready ").split()[-1])
        await asyncio.sleep(1)  # the peer listens before its producer has started
        ours, accepted = await intake(bench, ingress, ingress_port)
        theirs, _ = await intake(bench, peer, peer_port)
        peer.stop()
        show("intake-single", ours[0], theirs[0], "FastAPI + aiokafka")
        show("intake-batch", ours[1], theirs[1], "FastAPI + aiokafka")

        egress = bench.linkspan("egress")
        started.append(egress)
        egress.ready("ready ")
        delivered = await delivery(bench, egress)
        if not await receiver.until(accepted, 40):
            raise SystemExit(f"{accepted - receiver.count} of {accepted} messages were not delivered in time")
        p50, p99 = await latency(bench, ingress_port)
        for process in (egress, ingress):
            process.stop()

        faust = bench.process(
            "faust", "bench.peers.delivery_faust", "--datadir", str(directory), "worker", "-l", "warn", "--without-web"
        )
        started.append(faust)
        show("delivery-websocket", delivered, await delivery(bench, faust), "Faust")
        say(f"latency sent-to-delivered at {LATENCY_RATE}/s: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    finally:
        for process in started:
            process.stop()
        await receiver.stop()


def show(path: str, ours: float, theirs: float, peer: str) -> None:
    demand = DEMANDS[path]
    met = "met" if ours >= demand else "NOT met on this machine now"
    say(f"ratio {path} {ours / theirs:.2f}")
    say(f"  per core-second: ours {ours:,.0f}, {peer} {theirs:,.0f}; demand {demand:,}: {met}")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="linkspan-bench-") as folder:
        directory = Path(folder)
        with EmbeddedKafka(directory / "kafka") as kafka:
            asyncio.run(run(directory, kafka.bootstrap))
    say(f"{NAME} of flow {FLOW}: {time.monotonic() - began:.0f} s, load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
