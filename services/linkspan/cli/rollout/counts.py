"""What each version did, as the outcomes tell. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from linkspan.kernel.records.epoch import OWNER, Epoch
from linkspan.kernel.records.fact import ATTEMPT_FAILED, DEAD, DELIVERED

#: So many outcomes count as the least there are, so that one error among the first few is not a share of them.
LEAST = 100


@dataclass(slots=True)
class Done:
    """Of one version."""

    delivered: int = 0
    failed: int = 0
    dead: int = 0

    @property
    def errors(self) -> int:
        """Failed attempts that are charged, and dead letters."""
        return self.failed + self.dead

    @property
    def whole(self) -> int:
        return self.delivered + self.errors

    def too_many(self, most: float) -> bool:
        """``most``: share of errors, 0 to 1."""
        return self.errors > most * max(self.whole, LEAST)

    def __str__(self) -> str:
        share = f" ({self.errors / self.whole:.2%})" if self.whole else ""
        return f"{self.errors} of {self.whole} were errors{share}"


class Counts:
    """Told outcomes in the order of each partition. What stands before the first ``owner`` is nobody's: it says which
    version delivers from there on."""

    def __init__(self) -> None:
        self.by_version: defaultdict[str, Done] = defaultdict(Done)
        self._epochs: defaultdict[tuple[str, int], Epoch] = defaultdict(Epoch)
        self._owners: dict[tuple[str, int], str] = {}

    def told(self, flow: str, partition: int, kind: str, epoch: int, version: str) -> None:
        """``version``: as an ``owner`` says it."""
        place = flow, partition
        if not self._epochs[place].valid(kind, epoch):
            return
        if kind == OWNER:
            self._owners[place] = version
        elif place in self._owners:
            self._add(self.by_version[self._owners[place]], kind)

    @staticmethod
    def _add(done: Done, kind: str) -> None:
        if kind == DELIVERED:
            done.delivered += 1
        elif kind == ATTEMPT_FAILED:
            done.failed += 1
        elif kind == DEAD:
            done.dead += 1
