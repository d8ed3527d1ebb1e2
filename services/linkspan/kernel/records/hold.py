"""A key whose message was dead-lettered."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hold:
    """Event offsets but for ``start``, the offset in ``parked`` at or above which the key's copies stand. ``drained``:
    all of the key up to there are through, while ``draining``; -1 before."""

    dead: int
    last: int
    drained: int
    start: int
    draining: bool = False
