"""How far a partition is: what an owner leaves for its successor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Position:
    """``epoch`` is the one last allocated; ``outcomes_epoch`` the one in force at the offset ``outcomes``.

    They differ between a takeover and its first checkpoint: with one field for both, the successor of an owner that
    died in between would call outcomes stale that are valid, and deliver their messages again.

    ``cluster``: id of the Kafka cluster that it was written to, empty where that is not known. After ``linkspan
    restored``: events below ``marked`` may have gone out, outcomes below ``checked`` may name events that are lost.
    """

    epoch: int = 0
    events: int = 0
    finished: tuple[tuple[int, int], ...] = ()
    charged: tuple[tuple[int, int], ...] = ()
    outcomes: int = 0
    outcomes_epoch: int = 0
    control: int = 0
    redriven: tuple[int, ...] = ()
    parked: int = 0
    cluster: str = ""
    marked: int = 0
    checked: int = 0
