"""A part of a plan's list with what became of each of its records: one fold for whoever runs it or proves it."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter

from linkspan.kernel.records.plan import CANCELLED, DISPOSITIONS, SKIPPED, Planned, ReplayOptions, Stood, unsent

_NUMBERS = {kind: number for number, kind in enumerate(DISPOSITIONS, 1)}
_KINDS = dict(enumerate(DISPOSITIONS, 1))
_CANCELS = bytes([_NUMBERS[CANCELLED], *range(1, 256)])


class Listed:
    """Of one partition, 19 bytes a record. The first valid disposition of a record counts, later ones are repeats.

    ``begun``: the range was recorded with which every run of a part begins. ``counts``: by disposition.
    """

    def __init__(self, options: ReplayOptions) -> None:
        self._offsets, self._codes = array("Q"), bytearray()
        self._transforms, self._checks = array("i"), array("I")
        self._ended = bytearray()
        self._skips = bytes(_NUMBERS.get(unsent(Stood.of(code), options) or "", 0) for code in range(256))
        self.begun = False
        self.counts: Counter[str] = Counter()

    def add(self, entry: Planned) -> None:
        """In the order of their offsets."""
        self._offsets.append(entry.offset)
        self._codes.append(entry.code)
        self._transforms.append(entry.transform)
        self._checks.append(entry.check)
        self._ended.append(0)

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, at: int) -> Planned:
        return Planned(self._offsets[at], self._codes[at], self._transforms[at], self._checks[at])

    @property
    def left(self) -> int:
        """Records without a disposition."""
        return len(self) - self.counts.total()

    def at(self, offset: int) -> int | None:
        """Its place in the list."""
        at = bisect_left(self._offsets, offset)
        return at if at < len(self) and self._offsets[at] == offset else None

    def is_sent(self, at: int) -> bool:
        """By how it stood and the options: it is not among those that the run skips."""
        return not self._skips[self._codes[at]]

    def open(self, at: int) -> int | None:
        """The first place from ``at`` on whose record has no disposition."""
        found = self._ended.find(0, at)
        return None if found < 0 else found

    def is_open(self, at: int) -> bool:
        return not self._ended[at]

    def fold(self, kind: str, offset: int, until: int = -1) -> bool:
        """A valid outcome of the plan, in the log's order; ``until``: where its range ends. Whether it ended one record
        by itself."""
        if kind in (SKIPPED, CANCELLED):
            self.begun = self.begun or kind == SKIPPED
            self._range(kind, offset, until)
            return False
        at = self.at(offset) if kind in _NUMBERS else None
        if at is None or self._ended[at]:
            return False
        self._ended[at] = _NUMBERS[kind]
        self.counts[kind] += 1
        return True

    def _range(self, kind: str, offset: int, until: int) -> None:
        first, end = bisect_left(self._offsets, offset), bisect_left(self._offsets, max(until, offset + 1))
        before = self._ended[first:end]
        if kind == CANCELLED:
            after = before.translate(_CANCELS)
        else:
            skipped = self._codes[first:end].translate(self._skips)
            after = bytearray(was or now for was, now in zip(before, skipped, strict=True)) if any(before) else skipped
        self._ended[first:end] = after
        changed = Counter(after)
        changed.subtract(before)
        for number, count in changed.items():
            if number and count:
                self.counts[_KINDS[number]] += count
