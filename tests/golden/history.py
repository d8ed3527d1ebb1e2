"""A recorded log on disk: the topics of one flow, record by record, as bytes."""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_file import load_integration

HISTORIES = Path(__file__).parent / "histories"
LOG, FILE, EXPECTED = "log.jsonl", "integration.yaml", "expected.json"
PARTS = ("events", "outcomes", "parked", "state")


@dataclass(frozen=True, slots=True)
class Recorded:
    """As much of a ``ConsumerRecord`` as Linkspan reads. ``part``: which of the flow's topics; ``timestamp``: ms."""

    part: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]

    def line(self) -> str:
        headers = [[name, _text(value)] for name, value in self.headers]
        facts = [self.part, self.partition, self.offset, self.timestamp, _text(self.key), _text(self.value), headers]
        return json.dumps(facts, separators=(",", ":"))

    @classmethod
    def read(cls, line: str) -> Recorded:
        part, partition, offset, timestamp, key, value, headers = json.loads(line)
        said = tuple((name, _bytes(text) or b"") for name, text in headers)
        return cls(part, partition, offset, timestamp, _bytes(key), _bytes(value), said)


@dataclass(frozen=True, slots=True)
class History:
    """``flow``: the one that was recorded."""

    integration: Integration
    flow: str
    records: tuple[Recorded, ...]

    @property
    def partitions(self) -> int:
        return self.integration.flows[self.flow].partitions

    def of(self, part: str, partition: int) -> list[Recorded]:
        return [one for one in self.records if (one.part, one.partition) == (part, partition)]

    def until(self, timestamp: int) -> History:
        """As the log stood then."""
        return replace(self, records=tuple(one for one in self.records if one.timestamp <= timestamp))

    def cuts(self) -> list[int]:
        """Moments at which a quarter, half and three quarters of the outcomes stood."""
        times = sorted(one.timestamp for one in self.records if one.part == "outcomes")
        return [times[len(times) * quarter // 4] for quarter in (1, 2, 3)]


def read_history(folder: Path) -> History:
    flow, *lines = (folder / LOG).read_text().splitlines()
    return History(load_integration(folder / FILE, {}), flow, tuple(Recorded.read(line) for line in lines))


async def write_history(folder: Path, file: Path, flow: str, bootstrap: str) -> None:
    """All that stands in the flow's topics now, and the integration's file and schemas."""
    records = await _all_records(load_integration(file, {}), flow, bootstrap)
    _write(folder, file, [flow, *(one.line() for one in records)])


def _write(folder: Path, file: Path, lines: list[str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(file, folder / FILE)
    shutil.copytree(file.parent / "schemas", folder / "schemas")
    (folder / LOG).write_text("\n".join(lines) + "\n")


async def _all_records(integration: Integration, flow: str, bootstrap: str) -> list[Recorded]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest", isolation_level="read_committed"
    )
    await consumer.start()
    try:
        found: list[Recorded] = []
        for part in PARTS:
            for number in range(integration.flows[flow].partitions):
                where = TopicPartition(f"{integration.integration}.{flow}.{part}", number)
                found += [_recorded(part, record) for record in await _of(consumer, where)]
        return found
    finally:
        await consumer.stop()


async def _of(consumer: AIOKafkaConsumer, where: TopicPartition) -> list[Any]:
    consumer.assign([where])
    end = (await consumer.end_offsets([where]))[where]
    await consumer.seek_to_beginning(where)
    found: list[Any] = []
    while await consumer.position(where) < end:
        found += (await consumer.getmany(where, timeout_ms=500)).get(where, [])
    return found


def _recorded(part: str, record: Any) -> Recorded:
    return Recorded(
        part, record.partition, record.offset, record.timestamp, record.key, record.value, tuple(record.headers)
    )


def _text(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
