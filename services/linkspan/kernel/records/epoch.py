"""The epoch rule: after ``owner(e)``, an outcome of an epoch below e is stale, for every reader."""

from __future__ import annotations

OWNER = "owner"


class Epoch:
    """Told each outcome of a partition in the log's order; ``in_force`` is the highest epoch that began."""

    __slots__ = ("in_force",)

    def __init__(self, in_force: int = 0) -> None:
        self.in_force = in_force

    def valid(self, kind: str, epoch: int) -> bool:
        """False for what a former owner appended after its successor began, its late ``owner`` included."""
        if epoch < self.in_force:
            return False
        if kind == OWNER:
            self.in_force = epoch
        return True
