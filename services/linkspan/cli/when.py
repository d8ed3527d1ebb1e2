"""Moments as people write them."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from linkspan.kernel.errors import UserMistake

_AGO = re.compile(r"-?(\d+(?:\.\d+)?)(s|m|h|d)")
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def micros(option: str, text: str | None) -> int | None:
    """Microseconds since 1970 of ISO 8601 or of how long ago; without a zone it is this machine's.

    Raises UserMistake that names the option.
    """
    if text is None:
        return None
    ago = _AGO.fullmatch(text)
    try:
        moment = time.time() - float(ago[1]) * _SECONDS[ago[2]] if ago else datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise UserMistake(
            f"{option} {text}: expected a time such as 2026-01-31T12:00:00Z, or how long ago: 2h, 30m"
        ) from None
    if moment < 0:
        raise UserMistake(f"{option} {text}: that is before 1970")
    return round(moment * 1e6)


def ahead(option: str, text: str) -> int:
    """Microseconds since 1970 of a time to come: ISO 8601, or after how long. Raises UserMistake that names the
    option."""
    after = _AGO.fullmatch(text)
    try:
        if after:
            moment = time.time() + float(after[1]) * _SECONDS[after[2]]
            return round(datetime.fromtimestamp(moment, UTC).timestamp() * 1e6)
        moment = datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise UserMistake(
            f"{option} {text}: expected a time such as 2027-01-31T12:00:00Z, or after how long: 90d, 12h"
        ) from None
    if moment <= time.time():
        raise UserMistake(f"{option} {text}: that is past")
    return round(moment * 1e6)


def length(option: str, text: str) -> float:
    """Seconds of such as 90s, 15m or 2h; a bare number is seconds. Raises UserMistake that names the option."""
    found = _LENGTH.fullmatch(text.strip())
    if found is None:
        raise UserMistake(f"{option} {text}: expected a length of time such as 500ms, 90s, 15m or 2h")
    return float(found[1]) * (0.001 if found[2] == "ms" else _SECONDS[found[2] or "s"])


def span(start: tuple[str, str | None], end: tuple[str, str | None]) -> tuple[int | None, int | None]:
    """Both in microseconds, each given as (option, text). Raises UserMistake where the start is not before the end."""
    first, last = micros(*start), micros(*end)
    if first is not None and last is not None and first >= last:
        raise UserMistake(f"{start[0]} {start[1]} is not before {end[0]} {end[1]}")
    return first, last
