"""How a message looks: what it is, and what became of it in the order of time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from linkspan.cli.control.listing import Column, Listing, plain
from linkspan.cli.control.screen import Screen, between, number_of, span
from linkspan.cli.control.views.messages import kind_text, status_text
from linkspan.cli.control.views.status import ledger_line
from linkspan.control.v1 import messages_pb2 as pb

#: Characters of a text in a message's content.
_LONG, _SHOWN = 2_000, 200
#: What was decided without asking anybody.
_AT_HOME = frozenset({"held", "opened", "discarded", "redriven", "filtered", "duplicate", "superseded", "expired"})


def story_view(found: Sequence[pb.GetMessageResponse], screen: Screen) -> RenderableType:
    parts: list[RenderableType] = []
    for one in found:
        parts += [_message(one, screen), Text()]
    return Group(*parts, ledger_line(found[-1].ledger, found[-1].HasField("ledger"), screen))


def facts(*pairs: tuple[str, str | Text]) -> Table:
    """Names and values below each other; empty ones are left out."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        if value:
            table.add_row(name, value if isinstance(value, Text) else Text(plain(value)))
    return table


def json_view(text: str, screen: Screen) -> RenderableType:
    """Indented; as it is where it is no JSON. On a terminal it is coloured and long texts in it are cut."""
    try:
        made = json.loads(text)
    except ValueError:
        return Text(plain(text))
    if not screen.console.is_terminal:
        return Text(json.dumps(made, indent=2, ensure_ascii=False), no_wrap=True, overflow="ignore")
    shown = json.dumps(_cut(made), indent=2, ensure_ascii=False)
    return Syntax(shown, "json", background_color="default", word_wrap=True)


def _cut(made: Any) -> Any:
    """Content of a plan would fill a terminal for minutes."""
    if isinstance(made, dict):
        return {name: _cut(value) for name, value in made.items()}
    if isinstance(made, list):
        return [_cut(one) for one in made]
    if isinstance(made, str) and len(made) > _LONG:
        return f"{made[:_SHOWN]}… ({len(made):,} characters, --output json has all)"
    return made


def detail(entry: pb.TimelineEntry) -> str:
    """What is worth saying of it, in one line."""
    why = ": ".join(part for part in (entry.failure, entry.reason) if part)
    asked = entry.kind not in _AT_HOME
    parts = [
        "stale, it does not count" if entry.stale else "",
        f"to {entry.destination}" if entry.destination and asked else "",
        f"attempt {entry.attempt}" if entry.attempt else "",
        why,
        f"replay {entry.plan}" if entry.plan else "",
        f"command {entry.command}" if entry.HasField("command") else "",
        f"transform {entry.transform[:12]}" if entry.transform and asked else "",
    ]
    return ", ".join(part for part in parts if part)


def _message(found: pb.GetMessageResponse, screen: Screen) -> RenderableType:
    one = found.message
    head = Text(plain(f"{one.type or 'message'} {one.flow}/{one.partition}:{one.offset}"), "bold")
    about = facts(
        ("status", status_text(one.status)),
        ("message", one.message_id),
        ("correlation", one.correlation_id),
        ("key", one.key if one.HasField("key") else ""),
        ("from, to", f"{one.source or '?'} → {one.destination or '?'}"),
        ("priority", one.priority if one.priority not in ("", "normal") else ""),
        ("size", number_of(one.size, "byte") if one.size else ""),
        ("trace", one.trace_id),
        ("same id", ", ".join(found.same_id)),
    )
    content = [Text(), json_view(found.content, screen)] if found.content else []
    return Group(head, about, Text(), _timeline(found, screen), *content)


def _timeline(found: pb.GetMessageResponse, screen: Screen) -> Listing:
    listing = Listing(Column("at"), Column("after", right=True), Column("what"), Column("detail", folds=True))
    start = found.timeline[0].at if found.timeline else found.message.accepted_at
    for entry in found.timeline:
        after = between(start, entry.at)
        listing.add(
            screen.exact(entry.at),
            span(max(0.0, after)) if after else "",
            Text("stale", "dim") if entry.stale else kind_text(entry.kind),
            (f"{kind_text(entry.kind).plain}: " if entry.stale else "") + detail(entry),
        )
    return listing
