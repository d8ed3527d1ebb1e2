"""What every replica makes of a command."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """``effective``: it changed something, or sets owners to work."""

    result: str
    effective: bool
