"""The list of one partition as it grows: what of its events is selected, and how each stands.

Pure. Some 25 bytes a selected event, 200 a key of theirs.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from linkspan.kernel.errors import LinkspanError
from linkspan.kernel.records import plan
from linkspan.kernel.records.plan import Planned, Stood, check_of
from linkspan.kernel.topics import Headers
from linkspan.replay import standing
from linkspan.replay.content import GONE, SEALED, UNREADABLE, EventContent
from linkspan.replay.known import Known
from linkspan.replay.selection import Fitting
from linkspan.replay.standing import DELIVERED, Standing

#: Of a partition: what is selected is kept in memory until it is frozen.
MOST = 20_000_000
HOUR = 3_600_000_000
#: Beside what keeps it from being read.
_PARKED = 4
_NEVER = {UNREADABLE: plan.UNDECODABLE, SEALED: plan.UNDECRYPTABLE, GONE: plan.GONE}
_NO_KEY = -1
_ENTRY = "qBBHIi"


class TooMany(LinkspanError):
    """More than ``MOST`` events of a partition fit."""


class Chosen:
    """``add`` what stands in no event any more, in any order, then ``take`` the events in theirs."""

    def __init__(
        self, standing: Standing, fitting: Fitting, codes: frozenset[int], content: EventContent, transform: int | None
    ) -> None:
        """``codes``: statuses that fit; ``transform``: the number of the one that must have made it."""
        self._standing, self._fitting, self._content, self._transform = standing, fitting, content, transform
        self._codes = bytes(code in codes for code in range(standing_codes()))
        self._early: list[tuple[int, int, int, int, int, int]] = []
        self._columns = tuple(array(kind) for kind in _ENTRY)
        self._keys: dict[bytes, int] = {}
        self._counts, self._newest, self._inside = array("q"), array("q"), bytearray()
        self.hours: Counter[int] = Counter()
        self.bytes = 0
        self.parked: Callable[[int], bool] | None = None

    def __len__(self) -> int:
        return len(self._early) + len(self._columns[0])

    def take(self, events: Iterable[Any]) -> None:
        """Raises TooMany."""
        if len(self) > MOST:
            raise TooMany
        since, until, more = self._fitting.since or 0, self._fitting.until or 1 << 62, self._fitting.more
        first, end, codes, keys = self._standing.first, self._standing.end, self._standing.codes, self._keys
        fit, asks, newest, inside = self._codes, self._asks(), self._newest, self._inside
        place = 0  # of the header that says when it was accepted: nearly always where it was before
        for record in events:
            offset, headers = record.offset, record.headers
            if offset >= end:
                break
            if not (place < len(headers) and headers[place][0] == "accepted-at"):
                place = next((n for n, one in enumerate(headers) if one[0] == "accepted-at"), len(headers))
            said = headers[place][1] if place < len(headers) else b""
            accepted = int(said) if said.isdigit() else record.timestamp * 1000
            code = codes[offset - first]
            if (
                since <= accepted < until
                and fit[code]
                and (more is None or more(offset, Known.of(record)))
                and (not asks or self._fits(offset))
            ):
                self._append(offset, code, record, accepted)
            elif code == DELIVERED and record.key in keys:
                number = keys[record.key]
                newest[number], inside[number] = offset, 0

    def _asks(self) -> bool:
        return self.parked is not None or self._transform is not None

    def _fits(self, offset: int) -> bool:
        if self.parked is not None and not self.parked(offset):
            return False
        return self._transform is None or self._standing.made[offset - self._standing.first] == self._transform

    def _append(self, offset: int, code: int, record: Any, accepted: int) -> None:
        chosen, state = self._content.asked(record.value)
        if not chosen:
            if code == DELIVERED and record.key in self._keys:
                number = self._keys[record.key]
                self._newest[number], self._inside[number] = offset, 0
            return
        number = self._number(record.key)
        if code == DELIVERED and number >= 0:
            self._newest[number], self._inside[number] = offset, 1
        offsets, codes, states, made, checks, numbers = self._columns
        offsets.append(offset)
        codes.append(code)
        states.append(state)
        made.append(self._standing.made[offset - self._standing.first])
        checks.append(check_of(_message_id(record.headers)))
        numbers.append(number)
        self.hours[accepted // HOUR] += 1
        self.bytes += len(record.value or b"")

    def add(
        self, offset: int, code: int, known: Known, *, transform: int = 0, value: bytes | None = None, parked: bool
    ) -> None:
        """What is below the log of events: a copy in ``parked``, with its value, or what is gone."""
        state = GONE
        if parked:
            chosen, state = self._content.asked(value)
            if not chosen:
                return
            state |= _PARKED
        number = self._number(known.key)
        if code == DELIVERED and number >= 0 and offset >= self._newest[number]:
            self._newest[number], self._inside[number] = offset, 1
        self._early.append((offset, code, state, transform, check_of(known.message_id), number))
        self.hours[known.accepted // HOUR] += 1
        self.bytes += len(value or b"")
        if len(self) > MOST:
            raise TooMany

    def _number(self, key: bytes | None) -> int:
        if key is None:
            return _NO_KEY
        number = self._keys.get(key, _NO_KEY)
        if number < 0:
            number = self._keys[key] = len(self._counts)
            self._counts.append(0)
            self._newest.append(-1)
            self._inside.append(0)
        self._counts[number] += 1
        return number

    def _entries(self) -> Iterator[tuple[int, int, int, int, int, int]]:
        yield from sorted(self._early)
        yield from zip(*self._columns, strict=True)

    @property
    def statuses(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for code, count in Counter(self._columns[1]).items():
            found[standing.status_of(code)] += count
        for one in self._early:
            found[standing.status_of(one[1])] += 1
        return found

    @property
    def keys(self) -> Iterator[tuple[bytes, int]]:
        """Each with how many of the list are its own."""
        return ((key, self._counts[number]) for key, number in self._keys.items())

    @property
    def made(self) -> set[int]:
        """Numbers of the transforms that made what was delivered."""
        return (set(self._columns[3]) | {one[3] for one in self._early}) - {0}

    def statuses_at(self, places: Iterable[int]) -> dict[int, tuple[int, str]]:
        """Of these places in the list: offset and status."""
        wanted = set(places)
        return {
            place: (entry[0], standing.status_of(entry[1]))
            for place, entry in enumerate(self._entries())
            if place in wanted
        }

    def planned(self, position: int, transforms: dict[int, int]) -> Iterator[Planned]:
        """In the order of offsets. ``position``: live delivery has finished what is below; ``transforms``: place in the
        plan's list by number."""
        held = {self._keys[key] for key in self._standing.held if key in self._keys}
        for key, offset in self._standing.elsewhere.items():
            number = self._keys.get(key, _NO_KEY)
            if number >= 0 and offset > self._newest[number]:
                self._newest[number], self._inside[number] = offset, 0
        stood: dict[tuple[int, int, int, bool, bool], int] = {}
        for offset, code, state, made, check, number in self._entries():
            newer = 0
            if number >= 0 and self._newest[number] > offset:
                newer = plan.NEWER_INSIDE if self._inside[number] else plan.NEWER_OUTSIDE
            how = (code, state, newer, number in held, offset >= position)
            if how not in stood:
                stood[how] = _stood(*how).code
            yield Planned(offset, stood[how], transforms.get(made, -1), check)


def _stood(code: int, state: int, newer: int, held: bool, open_: bool) -> Stood:
    parked, state = bool(state & _PARKED), state & 3
    if code == standing.STATUSES.index("superseded"):
        newer = plan.NEWER_OUTSIDE
    return Stood(
        _NEVER.get(state, _own(code, held=held)),
        newer,
        parked,
        code == standing.RELEASED or (code == standing.NONE and open_),
    )


def _own(code: int, *, held: bool) -> int:
    if held or code in (standing.HELD, standing.HOLDING):
        return plan.HELD
    return plan.DELIVERED if code in (DELIVERED, standing.DUPLICATE) else plan.OPEN


def standing_codes() -> int:
    return standing.HOLDING + 1


def _message_id(headers: Any) -> bytes | None:
    if headers and headers[0][0] == Headers.MESSAGE_ID:
        found: bytes = headers[0][1]
        return found
    return dict(headers).get(Headers.MESSAGE_ID)
