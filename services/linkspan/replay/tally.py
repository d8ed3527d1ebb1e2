"""What became of each planned record of a partition, by its list and the outcomes of the replay alone. Pure.

It is the owners' own fold (``kernel/records/listed.py``), with the epoch rule, and with an eye for what must not be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from linkspan.kernel.records.epoch import Epoch
from linkspan.kernel.records.listed import Listed
from linkspan.kernel.records.plan import CANCELLED, DISPOSITIONS, SKIPPED, Planned, ReplayOptions

_RANGES = frozenset({SKIPPED, CANCELLED})
_ONES = frozenset(DISPOSITIONS) - _RANGES


class PartTally:
    """``repeats``: valid dispositions of records that had one; ``strays``: of offsets that the list does not name.
    ``epoch``: in force where the outcomes begin."""

    def __init__(self, planned: Iterable[Planned], options: ReplayOptions, epoch: int = 0) -> None:
        self._listed, self._epoch, self._several = Listed(options), Epoch(epoch), set[int]()
        self.repeats = self.strays = 0
        for one in planned:
            self._listed.add(one)

    def outcome(self, kind: str, offset: int, epoch: int, until: int = -1, *, ours: bool = True) -> None:
        """In their order. ``ours``: of this replay; of another one, or of live delivery, only the epoch counts."""
        if not self._epoch.valid(kind, epoch) or not ours:
            return
        if kind in _ONES:
            self._look(offset)
        if kind in _ONES or kind in _RANGES:
            self._listed.fold(kind, offset, until)

    def _look(self, offset: int) -> None:
        place = self._listed.at(offset)
        if place is None:
            self.strays += 1
        elif not self._listed.is_open(place):
            self.repeats += 1
            self._several.add(place)

    @property
    def records(self) -> int:
        return len(self._listed)

    @property
    def none(self) -> int:
        """Planned records without a disposition."""
        return self._listed.left

    @property
    def once(self) -> int:
        """With exactly one."""
        return self.records - self.none - len(self._several)

    @property
    def dispositions(self) -> Counter[str]:
        return +self._listed.counts
