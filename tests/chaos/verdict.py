"""The judgement of a run, made from the receivers' own records, what the senders know, and the faults' times."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.senders import Accepted

#: Before a fault began, an answer of the receiver may have been on its way: seconds.
BEFORE = 6.0


@dataclass(frozen=True, slots=True)
class Fault:
    """Times in seconds since 1970."""

    kind: str
    what: str
    begun: float
    ended: float

    @property
    def name(self) -> str:
        return f"{self.kind} {self.what}"


@dataclass
class Verdict:
    """``unmarked``: repeats without the mark; ``unexplained``: repeats whose earlier delivery was answered in time with
    no fault near; ``behind``: arrived after a newer one of its key; ``twice``: accepted twice, as its sender had no
    answer, and delivered for each."""

    messages: int = 0
    arrivals: int = 0
    lost: list[Accepted] = field(default_factory=list)
    repeated: int = 0
    unmarked: list[dict[str, Any]] = field(default_factory=list)
    unexplained: list[dict[str, Any]] = field(default_factory=list)
    behind: list[dict[str, Any]] = field(default_factory=list)
    twice: list[dict[str, Any]] = field(default_factory=list)

    def wrong(self) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {
            "lost": self.lost,
            "unmarked": self.unmarked,
            "unexplained": self.unexplained,
            "out of order": self.behind,
            "delivered for each acceptance": self.twice,
        }
        return {name: those for name, those in found.items() if those}

    def row(self, what: str, faults: int) -> str:
        figures = (self.messages, self.arrivals, faults, len(self.lost), self.repeated, len(self.unmarked))
        return f"| {what} | {' | '.join(map(str, figures))} | {len(self.twice)} | {len(self.behind)} |"


HEAD = "| flow | messages | arrivals | faults | lost | repeated | of these unmarked | delivered twice | out of order |"


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def judged(accepted: list[Accepted], arrivals: list[dict[str, Any]], faults: list[Fault], after: float) -> Verdict:
    """Of one flow. ``after``: seconds after a fault's end in which it still explains a repeat."""
    verdict = Verdict(len(accepted), len(arrivals))
    seen: dict[str, dict[str, Any]] = {}
    newest: dict[str, int] = {}
    for one in arrivals:
        before = seen.get(one["id"])
        if before is not None and one["sequence"] != before["sequence"]:
            verdict.twice.append(one)
            continue
        if before is not None:
            verdict.repeated += 1
            if not one["mark"]:
                verdict.unmarked.append(one)
            if not _explained(before, one, faults, after):
                verdict.unexplained.append(one)
        if one["line"] < newest.get(one["key"], -1):
            verdict.behind.append(one)
        if one["took"]:
            seen[one["id"]] = one
            newest[one["key"]] = max(one["line"], newest.get(one["key"], -1))
    arrived = {one["id"] for one in arrivals}
    verdict.lost = [one for one in accepted if one.id not in (arrived if one.unwanted else seen)]
    return verdict


def _explained(before: dict[str, Any], one: dict[str, Any], faults: Iterable[Fault], after: float) -> bool:
    """The earlier delivery was in flight when something broke: its answer was not "fine", or a fault was near."""
    if before["how"] not in {"fine", "twice"}:
        return True
    return any(fault.begun - BEFORE <= one["at"] and before["at"] <= fault.ended + after for fault in faults)


def table(verdicts: dict[str, Verdict], faults: list[Fault]) -> str:
    kinds = Counter(fault.name for fault in faults)
    rows = [HEAD, "|" + "---|" * 9, *(verdict.row(flow, len(faults)) for flow, verdict in verdicts.items())]
    injected = ", ".join(f"{name} {count}" for name, count in sorted(kinds.items()))
    return "\n".join([*rows, f"faults injected: {injected}"])
