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

from bench.integration import (
    BY_HTTP,
    FLOW,
    NAME,
    PARTITIONS,
    PEER_EVENTS,
    PEER_OUTCOMES,
    message,
    write_integration,
)
from bench.load import Load, open_loop, post
from bench.process import Process
from bench.receiver import Counter, HttpReceiver, Receiver
from linkspan.broker import EmbeddedKafka

SINGLE, BATCH = "/v1/messages", "/v1/messages:batch"
#: Seconds of each window at most, and messages of it.
INTAKE_SECONDS, DELIVERY_SECONDS, LATENCY_SECONDS = 3.5, 4.0, 4.0
SINGLES, BATCHES, PER_BATCH, WARM = 6_000, 90, 100, 300
HTTP_BATCHES = 60
LATENCY_RATE = 200
#: Messages per core-second that the design demands (performance.md), on its machine.
DEMANDS = {"intake-single": 10_000, "intake-batch": 35_000, "delivery-websocket": 14_000, "delivery-http": 5_000}


class Bench:
    """One run: where it is, and what each side came to, in messages per core-second."""

    def __init__(self, directory: Path, kafka: str) -> None:
        self.directory, self.kafka = directory, kafka
        self._numbers = itertools.count()
        self._environ = os.environ | {
            "MESSAGE_QUEUE_URL": f"kafka://{kafka}",
            "LINKSPAN_DATA": str(directory / "data"),
            "BENCH_KAFKA": kafka,
        }

    def process(self, name: str, *command: str, **environ: str) -> Process:
        return Process(name, [sys.executable, "-m", *command], self.directory, self._environ | environ)

    def linkspan(self, service: str, file: Path) -> Process:
        return self.process(service, "linkspan", service, str(file), "--port", "0", "--control-port", "0")

    def faust(self, name: str, file: Path, receiver: str) -> Process:
        options = ("--datadir", str(self.directory / f"faust-{name}"), "worker", "-l", "warn", "--without-web")
        module, environ = "bench.peers.delivery_faust", {"BENCH_NAME": name, "BENCH_FILE": str(file)}
        return self.process(f"faust-{name}", module, *options, BENCH_RECEIVER=receiver, **environ)

    def singles(self, count: int) -> Iterator[bytes]:
        return iter([post(SINGLE, message(next(self._numbers))) for _ in range(count)])

    def batches(self, count: int) -> Iterator[bytes]:
        return iter([post(BATCH, b"[" + b",".join(self._batch()) + b"]") for _ in range(count)])

    def _batch(self) -> Iterator[bytes]:
        return (message(next(self._numbers)) for _ in range(PER_BATCH))

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


async def delivery(process: Process, receiver: Counter) -> float:
    """Acknowledged messages per core-second, from a running start until the time is over or no more come."""
    if not await receiver.until(receiver.count + WARM, 40):
        raise SystemExit("nothing was delivered in 40 s; see the process's log")
    first, before = receiver.count, process.cpu()
    deadline, last, idle = time.monotonic() + DELIVERY_SECONDS, first, 0
    while time.monotonic() < deadline and idle < 5:
        await asyncio.sleep(0.1)
        idle, last = (idle + 1, last) if receiver.count == last else (0, receiver.count)
    return (receiver.count - first) / max(1e-3, process.cpu() - before)


async def latency(bench: Bench, ingress_port: int, receiver: Receiver) -> tuple[float, float]:
    """Milliseconds from sending the request until the frame is at the destination: p50, p99."""
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


class Run:
    """Its parts in order; ``started`` are stopped at the end, however it comes."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._accepted = self._port = 0
        self.started: list[Process] = []

    def _start(self, process: Process) -> Process:
        self.started.append(process)
        return process

    async def intake(self, file: Path) -> None:
        bench = self._bench
        ingress = self._start(bench.linkspan("ingress", file))
        peer = self._start(bench.process("fastapi", "bench.peers.intake_fastapi", bench.kafka, str(file)))
        self._port = port_of(ingress)
        peer_port = int(peer.ready("ready ").split()[-1])
        await asyncio.sleep(1)  # the peer listens before its producer has started
        ours, self._accepted = await intake(bench, ingress, self._port)
        theirs, _ = await intake(bench, peer, peer_port)
        peer.stop()
        show("intake-single", ours[0], theirs[0], "FastAPI + aiokafka")
        show("intake-batch", ours[1], theirs[1], "FastAPI + aiokafka")

    async def by_websocket(self, file: Path, receiver: Receiver, address: str) -> None:
        bench = self._bench
        egress = self._start(bench.linkspan("egress", file))
        egress.ready("ready ")
        ours = await delivery(egress, receiver)
        if not await receiver.until(self._accepted, 60):
            raise SystemExit(f"{self._accepted - receiver.count} of {self._accepted} messages were not delivered")
        p50, p99 = await latency(bench, self._port, receiver)
        egress.stop()
        faust = self._start(bench.faust(NAME, file, address))
        show("delivery-websocket", ours, await delivery(faust, receiver), "Faust")
        faust.stop()
        say(f"latency sent-to-delivered at {LATENCY_RATE}/s: p50 {p50:.1f} ms, p99 {p99:.1f} ms")

    async def by_http(self, file: Path, receiver: HttpReceiver, address: str) -> None:
        bench = self._bench
        ingress = self._start(bench.linkspan("ingress", file))
        await Load(port_of(ingress), bench.batches(HTTP_BATCHES), 8).run(20)
        egress = self._start(bench.linkspan("egress", file))
        ours = await delivery(egress, receiver)
        egress.stop()
        faust = self._start(bench.faust(BY_HTTP, file, address))
        show("delivery-http", ours, await delivery(faust, receiver), "Faust + aiohttp")


def port_of(ingress: Process) -> int:
    return int(ingress.ready("ready ").rpartition(":")[2])


async def run(directory: Path, kafka: str) -> None:
    sockets, requests = Receiver(), HttpReceiver()
    websocket, http = await sockets.start(), await requests.start()
    file, http_file = (write_integration(directory, *one) for one in ((NAME, websocket), (BY_HTTP, http)))
    await make_peer_topics(kafka)
    all_of_it = Run(Bench(directory, kafka))
    try:
        await all_of_it.intake(file)
        await all_of_it.by_websocket(file, sockets, f"ws://127.0.0.1:{websocket}/")
        await all_of_it.by_http(http_file, requests, f"http://127.0.0.1:{http}/orders")
    finally:
        for process in all_of_it.started:
            process.stop()
        await sockets.stop()
        await requests.stop()


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
