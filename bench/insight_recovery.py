"""How long `linkspan insight` takes to come back after kill -9 with 150,000 conversations in its table.

``python -m bench.insight_recovery [--keys 150000]``: once with its own copy of the tables (on this machine), once from
the changelogs in Kafka alone (as on another one). Each is told as seconds from the start of the new process to its
`ready` line, with the CPU time of that process and the load average; the broker holds a killed member's partitions for
`LINKSPAN_SESSION_SECONDS`, 6 here, which is in it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil
import yaml
from aiokafka import AIOKafkaProducer

from linkspan.broker import EmbeddedKafka
from linkspan.insight.conversations import Mention, encode
from linkspan.kernel.message import new_id, now_micros
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_file import load_integration
from linkspan.kernel.topic_admin import ensure_topics
from linkspan.kernel.topics import InsightTopics, partition_of

SESSION = "6"
PARTITIONS = 8
SCHEMA = '{"type": "record", "namespace": "bench.payload", "name": "%s", "fields": [{"name": "id", "type": "string"}]}'


def integration(folder: Path) -> Integration:
    schemas = folder / "schemas" / "bench"
    schemas.mkdir(parents=True)
    for name in ("Ask", "Done"):
        (schemas / f"{name}.1.avsc").write_text(SCHEMA % name)
    system = {"kind": "rest", "url": "http://127.0.0.1:9"}
    flows = {
        "asks": {"from": "a", "to": "b", "type": "Ask", "answer": {"type": "Done", "within": "1h"}},
        "answers": {"from": "b", "to": "a", "type": "Done"},
    }
    spec = {"integration": "bench", "systems": {"a": system, "b": system}, "schemas": "schemas"}
    spec["flows"] = {name: flow | {"key": "payload.id", "partitions": PARTITIONS} for name, flow in flows.items()}
    (folder / "integration.yaml").write_text(yaml.safe_dump(spec))
    return load_integration(folder / "integration.yaml", {})


async def mention_all(bootstrap: str, keys: int) -> None:
    """As insight repartitions them: what is measured begins behind that."""
    topic = InsightTopics.of("bench").mentions
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=5, max_batch_size=256 * 1024) as producer:
        for number in range(keys):
            key = new_id().encode()
            mention = encode(Mention("asks", "asks", now_micros(), new_id()))
            await producer.send(topic, mention, key, partition_of(key, PARTITIONS))
            if number % 5_000 == 0:
                await producer.flush()


class Worker:
    def __init__(self, folder: Path, bootstrap: str) -> None:
        self._started = time.monotonic()
        environ = {
            "MESSAGE_QUEUE_URL": f"kafka://{bootstrap}",
            "LINKSPAN_DATA": str(folder / "data"),
            "LINKSPAN_SESSION_SECONDS": SESSION,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "linkspan", "insight", str(folder / "integration.yaml"), "--port", "0"],
            env=os.environ | environ,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> float:
        """Seconds since the start."""
        assert self._process.stdout
        self._address = self._process.stdout.readline().split()[1]
        return time.monotonic() - self._started

    def cpu(self) -> float:
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    def waiting(self) -> int:
        with urllib.request.urlopen(f"{self._address}/metrics") as answer:  # noqa: S310 - our own address
            lines = answer.read().decode().splitlines()
        found = [line for line in lines if line.startswith('linkspan_conversations{flow="asks",state="waiting"}')]
        return int(float(found[0].split()[-1])) if found else 0

    def until_waiting(self, count: int, seconds: float = 600) -> float:
        """Seconds since the start until so many conversations are known."""
        end = time.monotonic() + seconds
        while self.waiting() < count:
            assert time.monotonic() < end, f"{self.waiting()} of {count}"
            time.sleep(0.5)
        return time.monotonic() - self._started

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


def measured(what: str, folder: Path, bootstrap: str, keys: int) -> Worker:
    worker = Worker(folder, bootstrap)
    ready, known = worker.ready(), worker.until_waiting(keys)
    load = os.getloadavg()[0]
    print(f"{what}: ready {ready:.1f} s, all {keys} known {known:.1f} s, CPU {worker.cpu():.1f} s, load {load:.1f}")
    return worker


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--keys", type=int, default=150_000)
    keys = parser.parse_args().keys
    folder = Path(tempfile.mkdtemp(prefix="linkspan-bench-"))
    try:
        with EmbeddedKafka(folder / "kafka") as kafka:
            asyncio.run(ensure_topics(kafka.bootstrap, integration(folder)))
            asyncio.run(mention_all(kafka.bootstrap, keys))
            worker = measured("from the mentions", folder, kafka.bootstrap, keys)
            time.sleep(5)
            worker.kill()
            worker = measured("after kill -9, with its copy", folder, kafka.bootstrap, keys)
            worker.kill()
            shutil.rmtree(folder / "data")
            worker = measured("after kill -9, from the changelogs", folder, kafka.bootstrap, keys)
            worker.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
