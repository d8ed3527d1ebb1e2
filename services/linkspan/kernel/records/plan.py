"""A frozen replay plan: which records it names, how each stood when it was made, and what that means for a run."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from zlib import crc32

import msgspec

from linkspan.kernel.codec import RecordCodec
from linkspan.kernel.errors import Poison
from linkspan.kernel.schemas import SchemaCatalog

#: How a record stood: the lowest three bits of its byte.
OPEN, DELIVERED, HELD, UNDECODABLE, UNDECRYPTABLE, GONE = range(6)
#: A newer one of its key was delivered, which the plan names too, or does not: the next two bits.
NEWER_INSIDE, NEWER_OUTSIDE = 1, 2
#: Its content stands in ``parked`` alone; it was under way: the two bits after these.
_PARKED, _UNDER_WAY = 1 << 5, 1 << 6

#: What becomes of a planned record; kinds of outcomes.
SENT = "delivered"
ALREADY, SUPERSEDED, HELD_BACK, FILTERED = "already_delivered", "superseded", "held", "filtered"
FAILED, UNREADABLE, SEALED, RETENTION, CANCELLED = "failed", "undecodable", "undecryptable", "gone", "cancelled"
DISPOSITIONS = (
    SENT,
    ALREADY,
    SUPERSEDED,
    HELD_BACK,
    FILTERED,
    FAILED,
    UNREADABLE,
    SEALED,
    RETENTION,
    CANCELLED,
)
#: Of a range: its planned records that the options do not send end as they stood.
SKIPPED = "skipped"
_NEVER = {HELD: HELD_BACK, UNDECODABLE: UNREADABLE, UNDECRYPTABLE: SEALED, GONE: RETENTION}


class Stood(msgspec.Struct, frozen=True):
    """How a planned record stood when the plan was made. ``standing``: ``OPEN`` to ``GONE``; ``newer``: 0,
    ``NEWER_INSIDE`` or ``NEWER_OUTSIDE``; ``parked``: its content is in ``parked`` alone; ``under_way``: live delivery
    had not finished it."""

    standing: int = OPEN
    newer: int = 0
    parked: bool = False
    under_way: bool = False

    @property
    def code(self) -> int:
        return self.standing | self.newer << 3 | _PARKED * self.parked | _UNDER_WAY * self.under_way

    @classmethod
    def of(cls, code: int) -> Stood:
        return cls(code & 7, code >> 3 & 3, bool(code & _PARKED), bool(code & _UNDER_WAY))


class Planned(msgspec.Struct, frozen=True):
    """``transform``: place in the head's list, -1 where nothing was made of it; ``check``: of its message id."""

    offset: int
    code: int
    transform: int
    check: int


def check_of(message_id: bytes | None) -> int:
    """Tells whether an offset still holds the record that was planned."""
    return crc32(message_id or b"")


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """As ``ReplayOptions.avsc`` says. ``canary``: by partition."""

    rate: float = 0.0
    canary: Mapping[int, int] = field(default_factory=dict)
    ramp: float = 0.0
    max_failures: float = 0.1
    min_sent: int = 20
    abort_on_breaker: bool = True
    abort_lag: float = 0.0
    yield_lag: float = 5.0
    force: bool = False
    allow_superseded: bool = False
    to: str = ""
    as_of: bool = False
    traceparent: str = ""


def unsent(stood: Stood, options: ReplayOptions) -> str | None:
    """The disposition with which a record ends that is not sent, from how it stood and the options alone; None where it
    is to be sent. Another destination knows nothing of what was delivered to the flow's own."""
    never = _NEVER.get(stood.standing)
    if never is not None and not (options.to and never == HELD_BACK):
        return never
    if options.to:
        return None
    if stood.standing == DELIVERED and not options.force:
        return ALREADY
    newer = stood.newer == NEWER_OUTSIDE or (stood.newer == NEWER_INSIDE and not options.force)
    return SUPERSEDED if newer and not options.allow_superseded else None


@dataclass(frozen=True, slots=True)
class PlanPart:
    """Of one partition; ``stood``: records by code; ``epoch``: in force at the offset ``outcomes``; ``start``: in the
    replays topic, its chunks are not below."""

    partition: int
    chunks: int
    sha256: bytes
    end: int
    outcomes: int
    stood: Mapping[int, int]
    epoch: int = 0
    start: int = 0

    @property
    def records(self) -> int:
        return sum(self.stood.values())

    def dispositions(self, options: ReplayOptions) -> Counter[str]:
        """What a run would make of it: ``SENT`` for what it is to send."""
        found: Counter[str] = Counter()
        for code, count in self.stood.items():
            found[unsent(Stood.of(code), options) or SENT] += count
        return found

    def to_send(self, options: ReplayOptions) -> int:
        return self.dispositions(options)[SENT]


@dataclass(frozen=True, slots=True)
class PlanHead:
    """As ``PlanHead.avsc`` says."""

    partitions: tuple[PlanPart, ...]
    sha256: bytes
    transforms: tuple[str, ...] = ()
    bytes: int = 0
    selection: str = "{}"
    report: str = "{}"

    @property
    def records(self) -> int:
        return sum(part.records for part in self.partitions)

    def part(self, partition: int) -> PlanPart | None:
        return next((part for part in self.partitions if part.partition == partition), None)

    def dispositions(self, options: ReplayOptions) -> Counter[str]:
        return sum((part.dispositions(options) for part in self.partitions), Counter())

    def to_send(self, options: ReplayOptions) -> int:
        return self.dispositions(options)[SENT]


@dataclass(frozen=True, slots=True)
class PartDone:
    """``dispositions``: planned records by what became of them; ``outcomes``: all of it stands below this offset."""

    dispositions: Mapping[str, int]
    outcomes: int


def packed(entries: Iterable[Planned], before: int = 0) -> bytes:
    """In the order of their offsets; ``before``: the offset of the last of the chunk before, 0 of the first chunk."""
    out = bytearray()
    for entry in entries:
        _leb128(out, entry.offset - before)
        out.append(entry.code)
        _leb128(out, entry.transform + 1)
        out += entry.check.to_bytes(4)
        before = entry.offset
    return bytes(out)


def unpacked(entries: bytes, before: int = 0) -> Iterator[Planned]:
    """Raises Poison where the bytes end within an entry."""
    at = 0
    try:
        while at < len(entries):
            delta, at = _read_leb128(entries, at)
            code = entries[at]
            transform, at = _read_leb128(entries, at + 1)
            (check,) = struct.unpack_from(">I", entries, at)
            before += delta
            yield Planned(before, code, transform - 1, check)
            at += 4
    except (IndexError, struct.error):
        raise Poison("the list of a plan ends within an entry") from None


def _leb128(out: bytearray, number: int) -> None:
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def _read_leb128(found: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = found[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7


class PlanCodec:
    """The bodies of replay commands, and the chunks of a list."""

    def __init__(self, catalog: SchemaCatalog) -> None:
        self._head, self._options = RecordCodec(catalog, "PlanHead"), RecordCodec(catalog, "ReplayOptions")
        self._done, self._chunk = RecordCodec(catalog, "PartDone"), RecordCodec(catalog, "PlanChunk")

    def encode_head(self, head: PlanHead) -> bytes:
        parts = [asdict(part) | {"stood": _texts(part.stood)} for part in head.partitions]
        return self._head.encode(asdict(head) | {"partitions": parts, "transforms": list(head.transforms)})

    def decode_head(self, value: bytes | None) -> PlanHead:
        """Raises Poison."""
        found = self._head.decode(value)
        parts = tuple(PlanPart(**(part | {"stood": _numbers(part["stood"])})) for part in found["partitions"])
        return PlanHead(**(found | {"partitions": parts, "transforms": tuple(found["transforms"])}))

    def encode_options(self, options: ReplayOptions) -> bytes:
        said = asdict(options) | {"canary": _texts(options.canary)}
        return self._options.encode({name: said[own] for name, own in _OPTIONS.items()})

    def decode_options(self, value: bytes | None) -> ReplayOptions:
        """Raises Poison."""
        found = self._options.decode(value)
        said = {own: found[name] for name, own in _OPTIONS.items()}
        return ReplayOptions(**(said | {"canary": _numbers(found["canary"])}))

    def encode_done(self, done: PartDone) -> bytes:
        return self._done.encode({"dispositions": dict(done.dispositions), "outcomes": done.outcomes})

    def decode_done(self, value: bytes | None) -> PartDone:
        """Raises Poison."""
        return PartDone(**self._done.decode(value))

    def encode_chunk(self, plan: str, chunk: int, count: int, entries: bytes) -> bytes:
        return self._chunk.encode({"plan": plan, "chunk": chunk, "count": count, "entries": entries})

    def decode_chunk(self, value: bytes | None) -> tuple[str, int, int, bytes]:
        """Plan, number, count of records, packed entries; raises Poison."""
        found = self._chunk.decode(value)
        return found["plan"], found["chunk"], found["count"], found["entries"]


def chunk_key(plan: str, chunk: int) -> bytes:
    return f"{plan}/{chunk}".encode()


#: Names in the schema, and ours.
_OPTIONS = {
    "rate": "rate",
    "canary": "canary",
    "ramp": "ramp",
    "maxFailures": "max_failures",
    "minSent": "min_sent",
    "abortOnBreaker": "abort_on_breaker",
    "abortLag": "abort_lag",
    "yieldLag": "yield_lag",
    "force": "force",
    "allowSuperseded": "allow_superseded",
    "to": "to",
    "asOf": "as_of",
    "traceparent": "traceparent",
}


def _texts(counts: Mapping[int, int]) -> dict[str, int]:
    return {str(number): count for number, count in counts.items()}


def _numbers(counts: Mapping[str, int]) -> dict[int, int]:
    """Raises Poison."""
    try:
        return {int(text): count for text, count in counts.items()}
    except ValueError as error:
        raise Poison(f"not a number: {error}") from None
