"""The judgement of a run, made from the receivers' own records, what the senders know, and the faults' times."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.senders import Accepted
from tests.chaos.stalls import Span

#: A line of a receiver's record.
Arrival = dict[str, Any]
#: Before a fault began, an answer of the receiver may have been on its way: seconds.
BEFORE = 6.0
#: And an attempt waits for its answer at least so long: seconds.
WAITS = 1.5


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
    no fault near; ``behind``: arrived after a newer one of its key; ``ahead``: arrived although an earlier one of its
    key was neither taken nor given up; ``twice``: accepted twice, as its sender had no answer, and delivered for each.
    ``taken``: events, of which an id may have two where somebody redrives both."""

    messages: int = 0
    arrivals: int = 0
    lost: list[Accepted] = field(default_factory=list)
    repeated: int = 0
    taken: int = 0
    unmarked: list[Arrival] = field(default_factory=list)
    unexplained: list[Arrival] = field(default_factory=list)
    behind: list[Arrival] = field(default_factory=list)
    ahead: list[Arrival] = field(default_factory=list)
    twice: list[Arrival] = field(default_factory=list)

    def wrong(self) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {
            "lost": self.lost,
            "unmarked": self.unmarked,
            "unexplained": self.unexplained,
            "out of order": self.behind,
            "ahead of a held one": self.ahead,
            "delivered for each acceptance": self.twice,
        }
        return {name: those for name, those in found.items() if those}

    def row(self, what: str, faults: int) -> str:
        figures = (self.messages, self.arrivals, faults, len(self.lost), self.repeated, len(self.unmarked))
        disorder = len(self.behind) + len(self.ahead)
        return f"| {what} | {' | '.join(map(str, figures))} | {len(self.twice)} | {disorder} |"


HEAD = "| flow | messages | arrivals | faults | lost | repeated | of these unmarked | delivered twice | out of order |"


def read(file: Path) -> list[Arrival]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def judged(
    accepted: list[Accepted],
    arrivals: list[Arrival],
    faults: list[Fault],
    after: float,
    given_up: Mapping[str, float] | None = None,
    stalls: Sequence[Span] = (),
) -> Verdict:
    """Of one flow. ``after``: seconds after a fault's end in which it still explains a repeat; ``given_up``: where dead
    letters hold their keys, when it was said of which of them that they may be discarded; else None. ``stalls``: when
    the receiver was too slow by itself."""
    judge = _Judge(Verdict(len(accepted), len(arrivals)), Reasons(faults, after, stalls), given_up)
    for one in arrivals:
        judge.arrives(one)
    if given_up is not None:
        judge.find_ahead(accepted, arrivals)
    judge.find_lost(accepted, arrivals)
    return judge.verdict


@dataclass(frozen=True, slots=True)
class Reasons:
    """Why the answer to a delivery may have been lost, or come too late."""

    faults: list[Fault]
    after: float
    stalls: Sequence[Span]

    def explain(self, before: Arrival, one: Arrival) -> bool:
        """Its answer was not "fine", or something broke, or stood still, while it was in flight."""
        first, again = before["at"], one["at"]
        return (
            before["how"] not in {"fine", "twice"}
            or any(fault.begun - BEFORE <= again and first <= fault.ended + self.after for fault in self.faults)
            or any(begun <= again and first - WAITS <= ended for begun, ended in self.stalls)
        )


class _Judge:
    def __init__(self, verdict: Verdict, reasons: Reasons, given_up: Mapping[str, float] | None) -> None:
        self.verdict, self._reasons = verdict, reasons
        self._holds, self._given_up = given_up is not None, given_up or {}
        self._seen: dict[str, Arrival] = {}
        self._newest: dict[str, int] = {}

    def arrives(self, one: Arrival) -> None:
        before = self._seen.get(one["id"])
        loose = one["unwanted"] and not self._holds  # where a letter holds no key, it is redriven whenever one likes
        if before is not None and one["sequence"] != before["sequence"]:
            self.verdict.taken += one["took"] and loose
            if not loose:
                self.verdict.twice.append(one)
            return
        if before is not None:
            self._repeats(before, one)
        if one["line"] < self._newest.get(one["key"], -1) and not loose:
            self.verdict.behind.append(one)
        if one["took"]:
            self.verdict.taken += before is None
            self._seen[one["id"]] = one
            self._newest[one["key"]] = max(one["line"], self._newest.get(one["key"], -1))

    def _repeats(self, before: Arrival, one: Arrival) -> None:
        self.verdict.repeated += 1
        if not one["mark"]:
            self.verdict.unmarked.append(one)
        if not self._reasons.explain(before, one):
            self.verdict.unexplained.append(one)

    def find_ahead(self, accepted: list[Accepted], arrivals: list[Arrival]) -> None:
        """Of a key whose message is held nothing newer may come, not even to be refused."""
        ids = {(one.key, one.line): one.id for one in accepted}
        taken: set[str] = set()
        first_open: dict[str, int] = {}
        for one in arrivals:
            key, line = one["key"], first_open.get(one["key"], 0)
            while line < one["line"] and self._settled(ids.get((key, line)), taken, one["at"]):
                line += 1
            first_open[key] = line
            if line < one["line"]:
                self.verdict.ahead.append(one)
            if one["took"]:
                taken.add(one["id"])

    def _settled(self, message_id: str | None, taken: set[str], at: float) -> bool:
        return message_id is None or message_id in taken or self._given_up.get(message_id, at) < at

    def find_lost(self, accepted: list[Accepted], arrivals: list[Arrival]) -> None:
        arrived = {one["id"] for one in arrivals}
        excused = arrived & self._given_up.keys() if self._holds else arrived
        self.verdict.lost = [
            one for one in accepted if one.id not in self._seen and not (one.unwanted and one.id in excused)
        ]


def table(verdicts: dict[str, Verdict], faults: list[Fault]) -> str:
    kinds = Counter(fault.name for fault in faults)
    rows = [HEAD, "|" + "---|" * 9, *(verdict.row(flow, len(faults)) for flow, verdict in verdicts.items())]
    injected = ", ".join(f"{name} {count}" for name, count in sorted(kinds.items()))
    return "\n".join([*rows, f"faults injected: {injected}"])
