"""How replays look: one under way, what came of it, its proof, and all of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Self

import typer
from rich.console import Group, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from linkspan.cli.control.listing import Column, Listing, plain
from linkspan.cli.control.screen import Screen, as_json, took
from linkspan.cli.control.views.message import facts
from linkspan.cli.control.views.messages import kind_text
from linkspan.cli.control.views.plan import plan_view
from linkspan.control.v1 import replays_pb2 as pb

_PHASES = {"completed": "green", "cancelled": "yellow", "aborted": "bold red", "canary": "yellow", "paused": "yellow"}
_WAITS = {
    "confirmation": "the canary is out: linkspan replay confirm PLAN sends the rest, cancel ends it",
    "live": "gives way to live delivery",
    "breaker": "waits for the destination",
    "paused": "is paused",
    "owner": "no replica works on it",
    "kafka": "Kafka does not answer: this is as it was",
}
#: Where nobody looks a line is written when it changes how it goes, or so many seconds after the last.
_LINE_SECONDS = 10.0


class ReplayScreen:
    """A bar on a terminal, lines in a pipe, objects for programs."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        terminal = screen.console.is_terminal and not screen.json
        columns = BarColumn(), TextColumn("{task.description}")
        self._bar = Progress(*columns, console=screen.console, transient=True) if terminal else None
        self._task = self._bar.add_task("", total=None) if self._bar else None
        self._said_at, self._state = 0.0, ("", "")

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, replay: pb.Replay) -> None:
        if self._screen.json:
            self._screen.document(as_json(replay), indent=None)
            sys.stdout.flush()
            return
        line = progress_line(replay)
        if self._bar and self._task is not None:
            self._bar.update(self._task, total=replay.records, completed=replay.finished, description=line)
            return
        now, state = time.monotonic(), (phase(replay).plain, replay.waits)
        if state != self._state or now - self._said_at >= _LINE_SECONDS:
            self._said_at, self._state = now, state
            self._screen.console.print(line)
            sys.stdout.flush()

    def lost(self, why: str) -> None:
        text = f"{plain(why)}; trying again; the replay goes on"
        if self._bar and self._task is not None:
            self._bar.update(self._task, description=text)
        else:
            typer.echo(f"linkspan: {text}", err=True)


def progress_line(replay: pb.Replay) -> str:
    parts = [
        f"{phase(replay).plain} {replay.finished:,} of {replay.records:,}",
        counts_text(replay.dispositions),
        f"{replay.in_flight:,} under way" if replay.in_flight else "",
        f"{replay.rate:,.1f}/s" if replay.rate else "",
        f"{took(replay.remaining)} left" if replay.HasField("remaining") else "",
        _waits(replay),
    ]
    return ", ".join(part for part in parts if part)


def replay_view(replay: pb.Replay, screen: Screen) -> RenderableType:
    options = (
        (f"at most {replay.rate_limit:g} a second", replay.rate_limit),
        ("also what was delivered", replay.force),
        ("also what is superseded", replay.allow_superseded),
        (f"to {replay.to}", replay.to),
        ("by the transform of then", replay.as_of),
    )
    ended = f"{replay.ended_by}: {replay.ended_reason}" if replay.ended_by or replay.ended_reason else ""
    about = facts(
        ("replay of", f"{replay.flow}, plan {replay.plan}"),
        ("phase", phase(replay)),
        ("waits", Text(_waits(replay), "yellow") if _waits(replay) else ""),
        ("options", ", ".join(text for text, meant in options if meant)),
        ("started", f"{screen.moment(replay.started)} by {replay.by}: {replay.reason}"),
        ("ended", screen.moment(replay.ended)),
        ("stopped by", ended),
        ("left", took(replay.remaining) if replay.HasField("remaining") else ""),
    )
    return Group(about, Text(), _account(replay.dispositions, replay.records))


def whole_view(found: pb.GetReplayResponse, screen: Screen) -> RenderableType:
    parts: list[RenderableType] = [plan_view(found.plan, screen)]
    if found.HasField("replay"):
        parts += [Text(), replay_view(found.replay, screen)]
    if found.replay.HasField("proof"):
        parts += [Text(), _proof(found.replay.proof, found.replay.records)]
    return Group(*parts)


def plans_view(found: pb.ListReplaysResponse, screen: Screen) -> RenderableType:
    runs = {one.plan: one for one in found.replays}
    listing = Listing(
        Column("frozen"),
        Column("plan"),
        Column("flow"),
        Column("events", right=True),
        Column("phase"),
        Column("done", right=True, spare=2),
        Column("failed", right=True, spare=1),
        Column("by", spare=3),
        Column("reason", folds=True, spare=4),
    )
    for one in found.plans:
        run = runs.get(one.plan, pb.Replay(phase=one.phase))
        listing.add(
            *(screen.moment(one.at), one.plan, one.flow, one.records, phase(run), run.finished, run.failed),
            *(run.by or one.by, run.reason or one.reason),
        )
    more = [Text("there are more: --limit shows them", "dim")] if found.next_page_token else []
    return Group(listing if listing.rows else Text("no plans"), *more)


def dry_view(found: pb.StartReplayResponse) -> RenderableType:
    parts: list[RenderableType] = [
        Text("nothing was sent; what a run would come to now:"),
        _account(found.replay.dispositions, found.replay.records, sent="to send"),
    ]
    if found.errors:
        listing = Listing(Column("events", right=True), Column("why the transform fails", folds=True))
        for one in found.errors:
            listing.add(one.count, one.reason)
        parts += [Text(), listing]
    return Group(*parts)


def counts_text(counts: Mapping[str, int]) -> str:
    """``3 failed, 10 already-delivered``."""
    return ", ".join(f"{count:,} {kind.replace('_', '-')}" for kind, count in sorted(counts.items()) if count)


def phase(replay: pb.Replay) -> Text:
    name = pb.ReplayPhase.Name(replay.phase).removeprefix("REPLAY_PHASE_").lower()
    return Text(name, _PHASES.get(name, ""))


def _waits(replay: pb.Replay) -> str:
    return _WAITS.get(replay.waits, replay.waits).replace("PLAN", replay.plan)


def _account(dispositions: Mapping[str, int], records: int, sent: str = "delivered") -> RenderableType:
    listing = Listing(Column("became"), Column("events", right=True))
    for kind, count in sorted(dispositions.items(), key=lambda one: (one[0] != "delivered", one[0])):
        listing.add(Text(sent, "green") if kind == "delivered" else kind_text(kind), count)
    ended = sum(dispositions.values())
    rest = f"; {records - ended:,} have not ended" if ended < records else ""
    return Group(listing, Text(f"{ended:,} of {records:,} planned{rest}", "dim"))


def _proof(proof: pb.ReplayProof, records: int) -> RenderableType:
    verdict = Text("proven", "green") if proof.proven else Text("NOT proven", "bold red")
    verdict.append(
        f": {proof.once:,} of {records:,} planned events have exactly one disposition in the log", "not bold default"
    )
    wrong = (
        (f"{proof.none:,} have none", proof.none),
        (f"{proof.repeated_dispositions:,} dispositions too many", proof.repeated_dispositions),
        (f"{proof.strays:,} dispositions of events that were not planned", proof.strays),
        ("the list is not the one that was frozen", not proof.list_unchanged),
    )
    return Group(verdict, *(Text(text, "red") for text, is_so in wrong if is_so))
