"""The message ids of a window of the past, in slots that are kept one by one."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

#: Entries of one slot; what changes with a checkpoint is written slot by slot.
SLOT = 512
_WIDTH = 3


class Ids:
    """A ring of slots with (id, digest, milliseconds since 1970) each; ``count`` ids at most, rounded up to whole
    slots, none older than ``within`` milliseconds counts. ``count`` 0: none is known."""

    def __init__(self, count: int = 0, within: int = 0) -> None:
        self._slots_kept = -(-count // SLOT)
        self._within = within
        self._slots: dict[int, array[int]] = {}
        self._newest = 0
        self._places: dict[int, int] = {}
        self._changed: set[int] = set()

    def restore(self, slots: Iterable[tuple[int, bytes]]) -> None:
        """(serial number, packed entries) of each slot as ``changed`` gave them."""
        for serial, packed in sorted(slots):
            self._newest = max(self._newest, serial)
            entries = array("Q")
            entries.frombytes(packed)
            self._slots[serial] = entries
            for place in range(len(entries) // _WIDTH):
                self._places[entries[place * _WIDTH]] = serial * SLOT + place
        self._drop_old()

    def add(self, message_id: int, digest: int, at: int) -> None:
        if not self._slots_kept or self.known(message_id, at) is not None:
            return
        slot = self._slots.setdefault(self._newest, array("Q"))
        if len(slot) >= SLOT * _WIDTH:
            self._newest += 1
            slot = self._slots[self._newest] = array("Q")
            self._drop_old()
        self._places[message_id] = self._newest * SLOT + len(slot) // _WIDTH
        slot.extend((message_id, digest, at))
        self._changed.add(self._newest)

    def known(self, message_id: int, now: int) -> int | None:
        """The digest that the id came with; None where it is not known."""
        place = self._places.get(message_id)
        if place is None:
            return None
        slot, at = self._slots[place // SLOT], place % SLOT * _WIDTH
        return slot[at + 1] if slot[at + 2] + self._within >= now else None

    def _drop_old(self) -> None:
        for serial in [serial for serial in self._slots if serial <= self._newest - self._slots_kept]:
            slot = self._slots.pop(serial)
            self._changed.discard(serial)
            for place in range(len(slot) // _WIDTH):
                if self._places.get(slot[place * _WIDTH]) == serial * SLOT + place:
                    del self._places[slot[place * _WIDTH]]

    def changed(self) -> list[tuple[int, int, bytes]]:
        """(place in the ring, serial number, packed entries) of each slot with new ids since the last call."""
        changed = [(serial % self._slots_kept, serial, self._slots[serial].tobytes()) for serial in self._changed]
        self._changed.clear()
        return changed

    def held(self, now: int) -> int:
        """Milliseconds that the window reaches back, or would if no id came."""
        if not self._slots_kept:
            return 0
        if len(self._slots) < self._slots_kept:
            return self._within
        oldest = self._slots[min(self._slots)][_WIDTH - 1]
        return max(0, min(self._within, now - oldest))
