"""What the outcomes of a partition say about events at and above a position."""

from __future__ import annotations

#: Kinds after which a message needs nothing more.
FINISHING = frozenset({"delivered", "dead_lettered", "expired", "filtered", "duplicate", "superseded", "discarded"})
ATTEMPT_FAILED = "attempt_failed"


class Memory:
    """Finished offsets, charged attempts, and where in ``outcomes`` the first word about each event stands.

    ``outcomes_from`` is what a successor needs: with the outcomes from there on it knows all that is known here.
    """

    def __init__(self) -> None:
        self._first_word: dict[int, int] = {}
        self._finished: set[int] = set()
        self._charged: dict[int, int] = {}
        self._next_outcome = 0

    def fold(self, outcome_offset: int, kind: str, offset: int, position: int = 0) -> None:
        """An outcome about the event ``offset`` that stands at ``outcome_offset``; below ``position``: of no use."""
        self._next_outcome = max(self._next_outcome, outcome_offset + 1)
        if offset < position:
            return
        if kind in FINISHING:
            self._finished.add(offset)
        elif kind == ATTEMPT_FAILED:
            self._charged[offset] = self._charged.get(offset, 0) + 1
        else:
            return
        self._first_word.setdefault(offset, outcome_offset)

    def read_to(self, outcome_offset: int) -> None:
        """All outcomes below are folded, also where the last offsets are gaps."""
        self._next_outcome = max(self._next_outcome, outcome_offset)

    def is_finished(self, offset: int) -> bool:
        return offset in self._finished

    def charged(self, offset: int) -> int:
        return self._charged.get(offset, 0)

    def outcomes_from(self, position: int) -> int:
        """Forgets what lies below ``position``; the oldest outcome about anything at or above it, else the next."""
        for offset in [offset for offset in self._first_word if offset < position]:
            del self._first_word[offset]
            self._finished.discard(offset)
            self._charged.pop(offset, None)
        return min(self._first_word.values(), default=self._next_outcome)
