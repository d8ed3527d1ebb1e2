"""How each event of a partition stands by its outcomes: the fold that a plan begins with.

Pure, three bytes an offset. Headers decide, but for the hash of a transform, which is read from the end of the value.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import msgspec

from linkspan.kernel.records.fact import DISCARDED, OPENED, REDRIVEN
from linkspan.kernel.topics import Headers
from linkspan.replay.known import Known

IN_FLIGHT, DELIVERED_STATUS, HELD_STATUS = "in_flight", "delivered", "held"
#: Names of what a message's status may be; the place of each is its code.
STATUSES = (
    IN_FLIGHT,
    DELIVERED_STATUS,
    HELD_STATUS,
    "dead_lettered",
    "expired",
    "filtered",
    "duplicate",
    "superseded",
    DISCARDED,
    REDRIVEN,
)
NONE, DELIVERED, HELD, DEAD, EXPIRED = range(5)
DUPLICATE, RELEASED = STATUSES.index("duplicate"), STATUSES.index(REDRIVEN)
#: A dead letter that holds its key.
HOLDING = len(STATUSES)
_CODES = {name.encode(): code for code, name in enumerate(STATUSES) if name != IN_FLIGHT}
_OPENED, _DELIVERED = OPENED.encode(), DELIVERED_STATUS.encode()
#: Of a partition; what more of them made counts as made by none.
_MOST_TRANSFORMS = 65_000


def codes_of(*names: str) -> frozenset[int]:
    """Of these statuses; what is none of them is left out."""
    found = {STATUSES.index(name) for name in names if name in STATUSES}
    return frozenset(found | ({HOLDING} if DEAD in found else set()))


def status_of(code: int) -> str:
    return STATUSES[DEAD if code == HOLDING else code]


class Transforms:
    """Hashes that outcomes name, by number from 1; 0 is none. ``read``: from the value of an outcome."""

    def __init__(self, read: Callable[[bytes], str | None]) -> None:
        self.hashes: list[str] = [""]
        self._read, self._numbers = read, {"": 0}
        self._ends: dict[bytes, int] = {}
        self._length = 0

    def number(self, value: bytes) -> int:
        """Nearly all outcomes end as the one before: ``transform``, and neither command nor plan."""
        found = self._ends.get(value[-self._length :])
        return self._look(value) if found is None else found

    def known(self, hash_: str) -> int:
        """-1 where no outcome named it."""
        return self._numbers.get(hash_, -1)

    def _look(self, value: bytes) -> int:
        made = self._read(value) or ""
        number = self._numbers.setdefault(made, len(self.hashes) if len(self.hashes) < _MOST_TRANSFORMS else 0)
        if number == len(self.hashes):
            self.hashes.append(made)
        end = _end_of(made)
        if made and value.endswith(end):
            if len(end) != self._length:
                self._ends, self._length = {}, len(end)
            self._ends[end] = number
        return number


def _end_of(made: str) -> bytes:
    """Of an Avro outcome: this transform, and two nulls."""
    text = made.encode()
    size, length = 2 * len(text), bytearray()
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return b"\x02" + bytes(length) + bytes((size,)) + text + b"\0\0"


class Before(msgspec.Struct):
    """What outcomes say of an event below the log's start."""

    code: int
    transform: int
    known: Known


@dataclass(frozen=True, slots=True)
class Around:
    """What lies outside of the events that are scanned. ``start``: where their log begins; ``held``: keys that were
    held as of the outcome ``held_from``; ``watched``: keys of which anything delivered matters; ``wants``: what an
    outcome says of an event below ``start``, None where that does not matter."""

    start: int = 0
    held: AbstractSet[bytes] = frozenset()
    held_from: int = 0
    watched: AbstractSet[bytes] = frozenset()
    wants: Callable[[int, Any], Known | None] = lambda _offset, _record: None


class Standing:
    """Of the events from ``first`` to before ``end``. ``codes``: a status each; ``made``: the number of the transform
    that made what was delivered. ``before``: what outcomes say of events below the log's start; ``lost``: ranges of
    them that retention took before they were delivered.

    ``held``: keys that are held; ``elsewhere``: the newest delivered offset of a key, outside of the events from
    ``first`` to ``end``; below them of watched keys alone; ``epoch``: in force after all that was taken.
    """

    def __init__(self, first: int, end: int, transforms: Transforms, around: Around | None = None) -> None:
        self.first, self.end = first, max(first, end)
        self.codes = bytearray(self.end - first)
        self.made = array("H", bytes(2 * len(self.codes)))
        self.before: dict[int, Before] = {}
        self.lost: list[tuple[int, int]] = []
        self._transforms, self._around = transforms, around or Around()
        self.held, self.elsewhere = set(self._around.held), dict[bytes, int]()
        self.epoch = 0
        self._epoch_said = b"0"

    def take(self, outcomes: Iterable[Any]) -> None:
        """Records of the outcomes, in their order."""
        first, end, codes, made = self.first, self.end, self.codes, self.made
        number = self._transforms.number
        for record in outcomes:
            headers = record.headers
            if len(headers) == 6 and headers[0][1] == _DELIVERED and self._is_plain(headers):
                offset = int(headers[1][1])
                if headers[2][1] != self._epoch_said and not self._valid(headers[2][1]):
                    continue
                if first <= offset < end:
                    codes[offset - first] = 1
                    made[offset - first] = number(record.value or b"")
                    continue
            self._other(record)

    @staticmethod
    def _is_plain(headers: Any) -> bool:
        return (
            headers[0][0] == Headers.KIND
            and headers[1][0] == Headers.OFFSET
            and headers[2][0] == Headers.EPOCH
            and headers[3][0] == Headers.MESSAGE_ID
            and headers[4][0] == Headers.CORRELATION_ID
            and headers[5][0] == Headers.DIGEST
            and bool(headers[1][1].isdigit())
        )

    def _valid(self, said: bytes) -> bool:
        """The epoch rule: an outcome of an epoch stands behind its ``owner``, so the highest seen is in force."""
        epoch = int(said) if said.isdigit() else 0
        if epoch < self.epoch:
            return False
        self.epoch, self._epoch_said = epoch, said
        return True

    def _other(self, record: Any) -> None:
        found = dict(record.headers)
        if Headers.PLAN in found or not self._valid(found.get(Headers.EPOCH, b"0")):
            return
        kind, said = found.get(Headers.KIND, b""), found.get(Headers.OFFSET, b"")
        if record.offset >= self._around.held_from and record.key is not None:
            self._hold(kind, record.key, holds=Headers.HOLD in found)
        code = _CODES.get(kind)
        if code is None or not said.isdigit():
            return
        if found.get(Headers.UNTIL, b"").isdigit():
            self._expired(int(said), int(found[Headers.UNTIL]))
            return
        self._status(int(said), HOLDING if code == DEAD and Headers.HOLD in found else code, record)

    def _hold(self, kind: bytes, key: bytes, *, holds: bool) -> None:
        if holds and _CODES.get(kind) in (DEAD, HELD):
            self.held.add(key)
        elif kind == _OPENED:
            self.held.discard(key)

    def _expired(self, offset: int, until: int) -> None:
        place, beyond = max(offset, self.first) - self.first, min(until, self.end) - self.first
        if beyond > place:
            self.codes[place:beyond] = bytes((EXPIRED,)) * (beyond - place)
        if offset < self._around.start:
            self.lost.append((offset, min(until, self._around.start)))

    def _status(self, offset: int, code: int, record: Any) -> None:
        made = self._transforms.number(record.value or b"") if code == DELIVERED else 0
        if self.first <= offset < self.end:
            self.codes[offset - self.first] = code
            if code == DELIVERED:
                self.made[offset - self.first] = made
            return
        key = record.key
        if code == DELIVERED and key is not None and (offset >= self.end or key in self._around.watched):
            self.elsewhere[key] = max(offset, self.elsewhere.get(key, -1))
        if offset < self._around.start:
            before = self.before.get(offset)
            known = self._around.wants(offset, record) if before is None else before.known
            if known is not None:
                self.before[offset] = Before(code, made, known)

    def forget(self) -> None:
        """The memory of each offset; ``held`` and ``elsewhere`` stay."""
        self.codes, self.made, self.before, self.lost = bytearray(), array("H"), {}, []
