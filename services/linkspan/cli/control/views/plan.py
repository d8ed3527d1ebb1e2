"""How the plan of a replay looks."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.text import Text

from linkspan.cli.control.listing import Column, Listing, plain
from linkspan.cli.control.screen import Screen, took
from linkspan.cli.control.views.message import facts, json_view
from linkspan.cli.control.views.messages import kind_text
from linkspan.control.v1 import replays_pb2 as pb

_HOURS, _KEYS, _BAR = 48, 10, 30
_TO_SEND = "delivered"


def plan_view(plan: pb.Plan, screen: Screen) -> RenderableType:
    parts: list[RenderableType] = [_head(plan, screen)]
    if not plan.records:
        return Group(*parts, Text("no event fits", "yellow"), *_failures(plan))
    parts += [Text(), _dispositions(plan), Text(), _statuses(plan), Text(), _hours(plan.hours), Text(), _keys(plan)]
    for one in plan.samples:
        parts += [Text(), _sample(one, screen)]
    return Group(*parts, *_failures(plan), Text(), _next(plan))


def _head(plan: pb.Plan, screen: Screen) -> RenderableType:
    return Group(
        Text(plain(f"plan {plan.plan}"), "bold"),
        facts(
            ("flow", plan.flow),
            ("events", f"{plan.records:,} of {plan.scanned:,} records read, {_size(plan.bytes)}"),
            ("time", f"{took(plan.estimated)} for what is to be sent" if plan.HasField("estimated") else "not known"),
            ("asked for", _asked(plan.selection)),
            ("frozen", f"{screen.moment(plan.at)} by {plan.by}: {plan.reason}"),
            ("SHA-256", plan.sha256),
        ),
    )


def _asked(selection: str) -> str:
    """What narrows it, as it is kept."""
    try:
        said = json.loads(selection)
    except ValueError:
        return selection
    return json.dumps({name: value for name, value in said.items() if name != "flow"}, ensure_ascii=False)


def _dispositions(plan: pb.Plan) -> Listing:
    listing = Listing(
        Column("what becomes of them"),
        Column("usual options", right=True),
        Column("--force", right=True),
        Column("--force --allow-superseded", right=True),
    )
    columns = plan.dispositions, plan.forced, plan.forced_all
    for kind in sorted({kind for one in columns for kind in one}, key=lambda kind: (kind != _TO_SEND, kind)):
        name = Text("to send", "bold green") if kind == _TO_SEND else kind_text(kind)
        listing.add(name, *(one.get(kind, 0) for one in columns))
    return listing


def _statuses(plan: pb.Plan) -> Listing:
    listing = Listing(Column("status now"), Column("events", right=True))
    for status, count in sorted(plan.statuses.items(), key=lambda one: -one[1]):
        listing.add(kind_text(status), count)
    return listing


def _hours(hours: Mapping[str, int]) -> RenderableType:
    """In the order of time; of very many the busiest."""
    shown = sorted(sorted(hours, key=lambda hour: -hours[hour])[:_HOURS])
    listing = Listing(Column("accepted in the hour (UTC)"), Column("events", right=True), Column("", spare=1))
    most = max(hours.values(), default=1)
    for hour in shown:
        listing.add(hour.replace("T", " ").removesuffix("Z"), hours[hour], "█" * max(1, hours[hour] * _BAR // most))
    rest = len(hours) - len(shown)
    return Group(listing, Text(f"and {rest:,} quieter hours", "dim")) if rest else listing


def _keys(plan: pb.Plan) -> RenderableType:
    listing = Listing(Column("busiest keys"), Column("events", right=True))
    for one in plan.keys[:_KEYS]:
        listing.add(one.key, one.count)
    return Group(listing, Text(f"{plan.distinct_keys:,} keys in all", "dim"))


def _sample(one: pb.PlanSample, screen: Screen) -> RenderableType:
    head = Text(plain(f"sample {one.partition}:{one.offset}"), "bold")
    about = facts(
        ("message", one.message_id),
        ("key", one.key if one.HasField("key") else ""),
        ("accepted", screen.exact(one.accepted_at)),
        ("status", kind_text(one.status)),
        ("disposition", Text("to send", "green") if one.disposition == _TO_SEND else kind_text(one.disposition)),
        ("transform", one.transform),
        ("error", Text(plain(one.error), "red") if one.error else ""),
    )
    return Group(head, about, *_made(one, screen))


def _made(one: pb.PlanSample, screen: Screen) -> list[RenderableType]:
    if one.now and one.then:
        if not one.differs:
            return [Text("made today as it was then", "green"), json_view(one.now, screen)]
        return [Text("made then (-) and today (+)", "yellow"), _difference(one.then, one.now)]
    said = (("made today", one.now), ("made then", one.then))
    return [part for title, text in said if text for part in (Text(title), json_view(text, screen))]


def _difference(then: str, now: str) -> Text:
    colours = {"-": "red", "+": "green"}
    found = Text()
    for line in list(difflib.unified_diff(_lines(then), _lines(now), lineterm="", n=2))[2:]:
        if not line.startswith("@@"):
            found.append(line[:1] + plain_indented(line[1:]) + "\n", colours.get(line[:1], ""))
    found.rstrip()
    return found


def plain_indented(line: str) -> str:
    indent = len(line) - len(line.lstrip(" "))
    return " " * indent + plain(line)


def _lines(text: str) -> list[str]:
    return json.dumps(json.loads(text), indent=2, ensure_ascii=False, sort_keys=True).splitlines()


def _failures(plan: pb.Plan) -> list[RenderableType]:
    if not plan.predicate_failures:
        return []
    text = f"{plan.predicate_failures:,} messages are not in it, as --where could not be asked of them; the first: "
    return [Text(), Text(text + plain(plan.predicate_failure), "red")]


def _next(plan: pb.Plan) -> Text:
    return Text(f"nothing was sent; linkspan replay run {plan.plan} sends it", "dim")


def _size(count: int) -> str:
    size, unit = float(count), "bytes"
    for larger in ("KB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
