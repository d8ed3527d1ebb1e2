"""How a status looks: what can be reached, the flows, the replicas, the ledger."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Self

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from linkspan.cli.control.listing import Column, Listing, plain
from linkspan.cli.control.screen import Screen, as_json, between, number_of, span, took
from linkspan.cli.output import ranges
from linkspan.control.v1 import status_pb2 as pb

_BREAKERS = {
    pb.BREAKER_STATE_CLOSED: Text("closed"),
    pb.BREAKER_STATE_PROBING: Text("probing", "yellow"),
    pb.BREAKER_STATE_OPEN: Text("open", "bold red"),
}
#: In this order.
_CHECKS = "systemA systemB messageQueue database"
#: Days before its end from which a certificate is warned of, as by the alert.
_SOON = 30
_RATES = ("in/s", "out/s", "failed/s")


def status_view(found: pb.GetStatusResponse, screen: Screen) -> RenderableType:
    parts: list[RenderableType] = [_head(found, screen), Text()]
    if found.flows:
        parts += [_flows(found.flows), *_notes(found.flows), Text()]
    parts += [_replicas(found), Text(), *_certificates(found)]
    return Group(*parts, ledger_line(found.ledger, found.HasField("ledger"), screen))


class StatusScreen:
    """Shows each status in the place of the one before; lines of JSON, or one below the other, where nobody looks."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        terminal = screen.console.is_terminal and not screen.json
        self._live = Live(console=screen.console, screen=True, auto_refresh=False) if terminal else None
        self._last: RenderableType | None = None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()
            if self._last:
                self._screen.console.print(self._last)

    def update(self, found: pb.GetStatusResponse) -> None:
        if self._screen.json:
            self._screen.document(as_json(found), indent=None)
            sys.stdout.flush()
            return
        self._last = status_view(found, self._screen)
        if self._live:
            self._live.update(self._last, refresh=True)
        else:
            self._screen.console.print(self._last, Text())

    def lost(self, why: str) -> None:
        """The connection broke; the last status stays in sight."""
        if self._live:
            self._live.update(
                Group(Text(f"{plain(why)}; trying again", "bold red"), self._last or Text()), refresh=True
            )
        else:
            typer.echo(f"linkspan: {why}; trying again", err=True)


def ledger_line(ledger: pb.LedgerStatus, runs: bool, screen: Screen) -> Text:
    """How far answers from the ledger go."""
    if not runs:
        return Text("ledger: does not run", "yellow")
    lag = "an unknown number of records" if ledger.lag < 0 else number_of(ledger.lag, "record")
    at = screen.moment(ledger.at)
    text = f"ledger: {lag} behind" + (f", folded {at}" if at else "")
    return Text(text, "dim" if ledger.lag == 0 else "yellow" if ledger.lag < 0 else "")


def _head(found: pb.GetStatusResponse, screen: Screen) -> Text:
    text = Text(plain(found.integration), "bold").append(f"  {screen.moment(found.at)}", "not bold")
    if found.log_level:
        text.append(f"  log level {found.log_level}", "not bold")
    if found.HasField("rollout"):
        text.append(
            Text(f"\n  {_rollout(found.rollout)}", "bold red" if found.rollout.state == "stopped" else "yellow")
        )
    for check in sorted(found.checks, key=lambda one: _CHECKS.find(one.name)):
        text.append("\n")
        text.append(f"  {check.name:<14}", "not bold")
        text.append("ok" if check.healthy else f"AWAY  {plain(check.error)}", "green" if check.healthy else "bold red")
    return text


def _rollout(one: pb.Rollout) -> str:
    why = f" by {plain(one.by)}: {plain(one.reason)}" if one.state == "stopped" else ""
    return f"rollout from {plain(one.before)} to {plain(one.to)}: {one.share} %, {one.state}{why}"


def _flows(flows: Sequence[pb.FlowStatus]) -> Listing:
    listing = Listing(
        Column("flow"),
        Column("from", spare=9),
        Column("to", spare=8),
        Column("parts", right=True, spare=6),
        *(Column(name, right=True, spare=3 * (name == "failed/s")) for name in _RATES),
        Column("lag", right=True),
        Column("window", right=True, spare=4),
        Column("oldest", right=True, spare=2),
        Column("held", right=True, spare=1),
        Column("dead", right=True),
        Column("p50", right=True, spare=10),
        Column("p99", right=True, spare=7),
        Column("breaker", spare=1),
        Column("state"),
    )
    for one in flows:
        window = one.last_minute if one.HasField("last_minute") else None
        listing.add(
            *(one.flow, one.source, one.destination, f"{one.owned}/{one.partitions}"),
            *(_rate(one.accepted), _rate(one.delivered), _rate(one.failed)),
            *(one.lag, one.window, took(one.oldest) if one.window or one.lag else "-", one.held_keys),
            "?" if one.dead_letters < 0 else Text(f"{one.dead_letters:,}", "red" if one.dead_letters else ""),
            *((took(window.p50), took(window.p99)) if window else ("-", "-")),
            _BREAKERS.get(one.breaker, Text("-")),
            _state(one),
        )
    return listing


def _state(flow: pb.FlowStatus) -> Text:
    if flow.paused:
        return Text("paused", "bold yellow")
    if flow.owned < flow.partitions:
        return Text("no owner" if not flow.owned else "partly owned", "bold red")
    if flow.breaker == pb.BREAKER_STATE_OPEN:
        return Text("waiting", "yellow")
    return Text("running", "green")


def _notes(flows: Sequence[pb.FlowStatus]) -> list[Text]:
    notes = []
    for one in flows:
        for paused in one.pauses:
            what = "" if paused.target == f"flow {one.flow}" else f"{plain(paused.target)} is "
            why = f": {plain(paused.reason)}" if paused.reason else ""
            notes.append(Text(f"  {one.flow}: {what}paused by {plain(paused.by) or 'unknown'}{why}", "yellow"))
        if one.breaker_reason and one.breaker in (pb.BREAKER_STATE_OPEN, pb.BREAKER_STATE_PROBING):
            notes.append(Text(f"  {one.flow}: breaker {_BREAKERS[one.breaker]}: {plain(one.breaker_reason)}", "red"))
    return notes


def _replicas(found: pb.GetStatusResponse) -> RenderableType:
    if not found.replicas:
        return Text("no replica has told of itself within 5 s", "bold red")
    listing = Listing(
        Column("replica"),
        Column("service"),
        Column("version", spare=3),
        Column("up", right=True),
        Column("control", spare=2),
        Column("commands", right=True, spare=4),
        Column("work", folds=True, spare=1),
    )
    for one in found.replicas:
        up = span(max(0.0, between(one.started, found.at))) if one.started.seconds else "-"
        listing.add(
            *(one.name, one.service, one.version, up, one.control_address or "-", one.control_offset), _work(one)
        )
    return listing


def _certificates(found: pb.GetStatusResponse) -> list[Text]:
    """A line for each that ends soon."""
    lines = []
    for replica in found.replicas:
        for one in replica.certificates:
            days = between(found.at, one.expires) / 86_400
            if days < _SOON:
                says = f"ends in {days:.0f} days" if days > 0 else "HAS ENDED"
                what = f"certificate {plain(one.use)} of {replica.service} {plain(replica.name)} {says}"
                lines.append(Text(what, "bold red" if days < _SOON / 4 else "yellow"))
    return [*lines, Text()] if lines else lines


def _work(replica: pb.ReplicaStatus) -> str:
    if replica.service == "ingress":
        return f"{_rate(replica.accepted)}/s in" + (f", {replica.spooled:,} spooled" if replica.spooled else "")
    return ", ".join(f"{one.flow} {ranges(one.partitions)}" for one in replica.partitions)


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or not value else f"{value:.1f}"
