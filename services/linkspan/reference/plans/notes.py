"""What reading a plan ran into, and the bounds that keep an extract small whatever the file holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import TypeVar

T = TypeVar("T")

#: The most entries of any list or map in an extract, and of its reasons; the most characters of a name from a file.
LISTED = 500
REASONS = 40
NAME = 200


class Refused(Exception):
    """The file cannot be extracted; the text is a clause that follows the file's name."""


class Notes:
    """The reasons of one extract, in order, each once."""

    def __init__(self) -> None:
        self.partial = False
        self._reasons: dict[str, None] = {}

    def say(self, reason: str) -> None:
        self._reasons[" ".join(clean(reason, 400).split())] = None

    def damage(self, reason: str) -> None:
        """A reason for which the extract is not the whole of what the file once stated."""
        self.partial = True
        self.say(reason)

    def first(self, items: Sequence[T], what: str, most: int = LISTED) -> list[T]:
        """At most ``most`` items; a shortened list is said."""
        if len(items) > most:
            self.say(f"only the first {most} of {len(items)} {what} are listed")
        return list(items[:most])

    def first_counts(self, counts: dict[str, int], what: str) -> dict[str, int]:
        return dict(self.first(sorted(counts.items()), what))

    @property
    def reasons(self) -> list[str]:
        said = list(self._reasons)
        left = len(said) - REASONS
        return said if left <= 0 else [*said[:REASONS], f"and {left} more reasons"]


def clean(text: object, most: int = NAME) -> str:
    """A text of the file as valid Unicode without control characters, at most ``most`` characters."""
    valid = str(text).encode("utf-8", "replace").decode("utf-8")
    plain = "".join(sign if sign.isprintable() else " " for sign in valid)
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def number(value: object) -> float | None:
    """A finite float (never -0.0), or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        figure = float(value) + 0.0
    except OverflowError:
        return None
    return figure if math.isfinite(figure) else None


def scaled(figure: float, scale: float) -> float | None:
    """Their product in decimal, as the file writes them: 2800 mm are 2.8 m, not 2.8000000000000003 m."""
    return number(float(Decimal(repr(figure)) * Decimal(repr(scale))))


def total(figures: Sequence[float]) -> float | None:
    """The exact sum, None where it is not finite."""
    try:
        return number(math.fsum(figures))
    except (OverflowError, ValueError):
        return None
