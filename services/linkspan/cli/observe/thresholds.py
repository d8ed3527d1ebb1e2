"""What an alert goes by: the figures that a site may want to be others."""

from __future__ import annotations

import re
from dataclasses import dataclass

from linkspan.kernel.errors import UserMistake


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Rates in messages a second, of all flows together. ``hours`` (UTC, such as ``6-20``) and ``days`` (1-5: Monday to
    Friday) say when traffic is expected; ``hours`` "never": a low rate is no alert. ``pace`` shortens every duration
    but those of certificates, keys and retention, for drills and tests. ``runbooks``: where the page of runbooks is."""

    low_rate: float = 10
    high_rate: float = 1_000
    hours: str = "6-20"
    days: str = "1-5"
    error_ratio: float = 0.05
    p95_seconds: float = 2
    queue_depth: int = 10_000
    oldest_seconds: float = 300
    held_seconds: float = 3_600
    certificate_days: float = 30
    key_days: float = 90
    pace: float = 1.0
    runbooks: str = "docs/runbooks/alerts.md"
    archive_share: float = 0.25
    archive_seconds: float = 3_600

    def lasting(self, seconds: float) -> str:
        """As Prometheus writes a duration."""
        milliseconds = max(1, round(seconds * self.pace * 1000)) if seconds else 0
        for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
            if milliseconds % size == 0:
                return f"{milliseconds // size}{unit}"
        return f"{milliseconds}ms"

    def seconds(self, seconds: float) -> str:
        return f"{seconds * self.pace:g}"

    @property
    def expected(self) -> str | None:
        """When a low rate is worth an alert, in PromQL; None: never. Raises UserMistake."""
        if self.hours == "never":
            return None
        first, end = _span("--hours", self.hours, 0, 24)
        monday, last = _span("--days", self.days, 0, 7)
        return f"hour() >= {first} < {end} and day_of_week() >= {monday} <= {last}"


def _span(option: str, text: str, least: int, most: int) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,2})-(\d{1,2})", text)
    if found is None or not least <= int(found[1]) <= int(found[2]) <= most:
        raise UserMistake(f"{option} {text}: expected FIRST-LAST from {least} to {most}, such as 6-20")
    return int(found[1]), int(found[2])
