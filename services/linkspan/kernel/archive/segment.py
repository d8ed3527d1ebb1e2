"""A segment of the archive: records of one partition, from one offset to before another, in an Avro file.

The name says what a list of names must tell: the offsets, the newest timestamp, how many records there are, and the
SHA-256 of the file. So a list of names is all that there is to know of an archive, and a file that was altered shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from io import BytesIO
from typing import Any

import fastavro
import msgspec

_NAME = re.compile(r"(\d{20})-(\d{20})\.(\d{13,})\.(\d+)\.([0-9a-f]{64})\.avro")
#: Bytes of a block, which is decompressed at once.
_BLOCK = 256 * 1024

#: What any reader of Avro files makes of a record. ``timestamp``: milliseconds since 1970.
SCHEMA = fastavro.parse_schema(
    {
        "type": "record",
        "name": "linkspan.archive.Record",
        "doc": "A record of a Kafka topic, as it stood there.",
        "fields": [
            {"name": "offset", "type": "long"},
            {"name": "timestamp", "type": "long", "doc": "milliseconds since 1970"},
            {"name": "key", "type": ["null", "bytes"]},
            {"name": "value", "type": ["null", "bytes"], "doc": "null: a tombstone"},
            {
                "name": "headers",
                "type": {
                    "type": "array",
                    "items": {
                        "type": "record",
                        "name": "Header",
                        "fields": [{"name": "name", "type": "string"}, {"name": "value", "type": ["null", "bytes"]}],
                    },
                },
            },
        ],
    }
)


class Archived(msgspec.Struct, frozen=True):
    """A record as aiokafka's ``ConsumerRecord`` has it, as far as anybody looks at it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class Segment(msgspec.Struct, frozen=True, order=True):
    """Offsets from ``first`` to before ``end``. ``newest``: the newest timestamp, milliseconds since 1970, 0 where
    there is no record; ``sha256``: hex, of the file."""

    first: int
    end: int
    newest: int
    records: int
    sha256: str

    @property
    def name(self) -> str:
        return f"{self.first:020}-{self.end:020}.{self.newest:013}.{self.records}.{self.sha256}.avro"

    @classmethod
    def named(cls, name: str) -> Segment | None:
        """None where it is the name of something else."""
        found = _NAME.fullmatch(name)
        if found is None:
            return None
        first, end, newest, records = (int(found[part]) for part in (1, 2, 3, 4))
        return cls(first, end, newest, records, found[5])


def encode(topic: str, partition: int, first: int, end: int, records: Sequence[Any]) -> tuple[Segment, bytes]:
    """The same records make the same bytes."""
    said = {"linkspan.topic": topic, "linkspan.partition": str(partition)}
    said |= {"linkspan.first": str(first), "linkspan.end": str(end)}
    marker = sha256(f"{topic}/{partition}:{first}-{end}".encode()).digest()[:16]
    out = BytesIO()
    fastavro.writer(
        out, SCHEMA, map(_datum, records), "deflate", sync_interval=_BLOCK, metadata=said, sync_marker=marker
    )
    content = out.getvalue()
    newest = max((max(0, record.timestamp) for record in records), default=0)
    return Segment(first, end, newest, len(records), sha256(content).hexdigest()), content


def _datum(record: Any) -> dict[str, Any]:
    headers = [{"name": name, "value": value} for name, value in record.headers]
    return {
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": record.key,
        "value": record.value,
        "headers": headers,
    }


def decode(topic: str, partition: int, content: bytes) -> Iterator[Archived]:
    """Block by block, as they are asked for."""
    for one in fastavro.reader(BytesIO(content)):
        headers = tuple((header["name"], header["value"]) for header in one["headers"])
        yield Archived(topic, partition, one["offset"], one["timestamp"], one["key"], one["value"], headers)


def is_whole(segment: Segment, content: bytes) -> bool:
    return sha256(content).hexdigest() == segment.sha256


def covered_from(segments: Iterable[Segment], offset: int) -> int:
    """The lowest offset from which on nothing is missing up to ``offset``."""
    for one in sorted(segments, key=lambda one: one.end, reverse=True):
        if one.end < offset:
            break
        offset = min(offset, one.first)
    return offset


def holes(segments: Iterable[Segment]) -> list[tuple[int, int]]:
    """Ranges of offsets between the first and the last that no segment has."""
    found, end = [], -1
    for one in sorted(segments):
        if 0 <= end < one.first:
            found.append((end, one.first))
        end = max(end, one.end)
    return found


def with_offset(segments: Iterable[Segment], offset: int) -> Segment | None:
    """Of several that have it the one that goes farthest."""
    return max((one for one in segments if one.first <= offset < one.end), key=lambda one: one.end, default=None)
