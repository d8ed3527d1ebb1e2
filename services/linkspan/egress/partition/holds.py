"""Keys whose message was dead-lettered, and dead letters on their way out again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from linkspan.kernel.records.fact import DEAD, FINISHING, Fact
from linkspan.kernel.records.hold import Hold


class Holds:
    """The fold of what outcomes say of held keys. Nothing is kept for a key that is not held.

    ``redriven``: dead letters without a hold that go out again.
    """

    def __init__(self, holds: Mapping[bytes, Hold] | None = None, redriven: Iterable[int] = ()) -> None:
        self._holds: dict[bytes, Hold] = {}
        self._dead: dict[int, bytes] = {}
        for key, hold in (holds or {}).items():
            self._set(key, hold)
        self.redriven = set(redriven)
        self._changed: set[bytes] = set()
        self._resolved: list[int] = []
        self._resolving: frozenset[int] = frozenset()

    def __contains__(self, key: bytes) -> bool:
        return key in self._holds

    def __len__(self) -> int:
        return len(self._holds)

    def __getitem__(self, key: bytes) -> Hold:
        return self._holds[key]

    def items(self) -> Iterable[tuple[bytes, Hold]]:
        return self._holds.items()

    def draining(self) -> Iterator[bytes]:
        return (key for key, hold in self._holds.items() if hold.draining)

    def needs(self, offset: int, key: bytes | None) -> bool:
        """The copy of this event is to go out again, or waits."""
        hold = self._holds.get(key) if key is not None else None
        waits = hold is not None and max(hold.dead, hold.drained + 1) <= offset <= hold.last
        return waits or offset in self.redriven

    def held_by(self, dead: int) -> bytes | None:
        """The key that the dead letter of this event offset holds."""
        return self._dead.get(dead)

    def fold(self, fact: Fact) -> None:
        """A valid outcome; what a flush gives up waits nowhere."""
        if fact.kind == "delivered" and not self._holds and not self.redriven:
            return  # of nearly all
        match fact.kind:
            case _ if fact.flushed:
                pass
            case "dead_lettered" | "held":
                self._parked(fact)
            case "redriven":
                self._redriven(fact)
            case "discarded":
                self._discarded(fact)
            case "opened" if fact.key is not None:
                self._set(fact.key, None)
                self._changed.add(fact.key)
            case kind if kind in FINISHING:
                self._through(fact)

    def _parked(self, fact: Fact) -> None:
        hold = self._holds.get(fact.key) if fact.key is not None else None
        if fact.offset in self.redriven:
            self.redriven.discard(fact.offset)
        elif fact.key is None or not fact.hold:
            if hold is not None and hold.draining and fact.offset <= hold.last:
                self._change(fact.key, replace(hold, drained=max(hold.drained, fact.offset)))
        elif hold is None:
            self._change(fact.key, Hold(fact.offset, fact.offset, -1, fact.parked))
        elif fact.kind == DEAD:
            last, start = max(hold.last, fact.offset), min(hold.start, fact.parked)
            self._change(fact.key, Hold(fact.offset, last, -1, start))
        else:
            last, start = max(hold.last, fact.offset), min(hold.start, fact.parked)
            self._change(fact.key, replace(hold, last=last, start=start))

    def _redriven(self, fact: Fact) -> None:
        hold = self._holds.get(fact.key) if fact.key is not None and fact.hold else None
        if hold is not None:
            self._change(fact.key, replace(hold, draining=True, drained=fact.offset - 1))
        else:
            self.redriven.add(fact.offset)

    def _discarded(self, fact: Fact) -> None:
        hold = self._holds.get(fact.key) if fact.key is not None and fact.hold else None
        if hold is not None:
            self._change(fact.key, replace(hold, draining=True, drained=fact.offset))
        self._resolved.append(fact.offset)

    def _through(self, fact: Fact) -> None:
        if fact.offset in self.redriven:
            self.redriven.discard(fact.offset)
            self._resolved.append(fact.offset)
            return
        hold = self._holds.get(fact.key) if fact.key is not None else None
        if hold is not None and hold.draining and fact.offset <= hold.last:
            self._change(fact.key, replace(hold, drained=max(hold.drained, fact.offset)))
            self._resolved.append(fact.offset)

    def _change(self, key: bytes | None, hold: Hold) -> None:
        if key is not None:
            self._set(key, hold)
            self._changed.add(key)

    def _set(self, key: bytes, hold: Hold | None) -> None:
        before = self._holds.pop(key, None)
        if before is not None:
            self._dead.pop(before.dead, None)
        if hold is not None:
            self._holds[key] = hold
            self._dead[hold.dead] = key

    def changed(self) -> dict[bytes, Hold | None]:
        """Since the last call; None where the key is free again."""
        changed = {key: self._holds.get(key) for key in self._changed}
        self._changed.clear()
        return changed

    def resolved(self) -> list[int]:
        """Event offsets whose copies in ``parked`` are of no use any more, since the last call."""
        found, self._resolved = self._resolved, []
        self._resolving = frozenset(found)
        return found

    def is_resolved(self, offset: int, key: bytes | None) -> bool:
        """Its copy is to be deleted, though that may not be done yet."""
        hold = self._holds.get(key) if key is not None else None
        through = hold is not None and hold.draining and offset <= hold.drained
        return through or offset in self._resolving or offset in self._resolved

    def letter(self, offset: int, key: bytes | None, *, dead: bool) -> str | None:
        """Why this copy in ``parked`` is no dead letter that waits for a decision; None where it is one."""
        holder = self.held_by(offset)
        if holder is not None:
            return "it is being released already" if self._holds[holder].draining else None
        if offset in self.redriven:
            return "it is being redriven already"
        if self.is_resolved(offset, key):
            return "it is released already"
        if key is not None and self.needs(offset, key):
            return f"it waits behind the dead letter {self._holds[key].dead}: redrive or discard that one"
        return None if dead else "it waits behind a dead letter: redrive or discard that one"
