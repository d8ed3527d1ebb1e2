"""Keys whose message was dead-lettered: their followers wait."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Hold:
    """Event offsets but for ``start``, the offset in ``parked`` at or above which the key's copies stand. ``drained``:
    up to which waiting messages were released, -1 where none was."""

    dead: int
    last: int
    drained: int
    start: int
    draining: bool = False


class Holds:
    """Nothing is kept for a key that is not held."""

    def __init__(self, holds: Mapping[bytes, Hold] | None = None) -> None:
        self._holds = dict(holds or {})
        self._changed: set[bytes] = set()

    def __contains__(self, key: bytes) -> bool:
        return key in self._holds

    def __len__(self) -> int:
        return len(self._holds)

    def parked(self, key: bytes, offset: int, parked: int) -> None:
        """The event ``offset`` of ``key`` stands at ``parked`` by a valid outcome: begins the hold, or extends it."""
        hold = self._holds.get(key)
        if hold is None:
            self._holds[key] = Hold(offset, offset, -1, parked)
        else:
            self._holds[key] = replace(hold, last=max(hold.last, offset), start=min(hold.start, parked))
        self._changed.add(key)

    def changed(self) -> dict[bytes, Hold | None]:
        """Since the last call; None where the key is free again."""
        changed = {key: self._holds.get(key) for key in self._changed}
        self._changed.clear()
        return changed
