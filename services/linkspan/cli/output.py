"""The forms in which a command answers."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Output(StrEnum):
    TEXT = "text"
    JSON = "json"


def ranges(numbers: Iterable[int]) -> str:
    """``0-3,7``."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in spans)
