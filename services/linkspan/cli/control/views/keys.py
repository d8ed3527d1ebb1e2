"""How API keys look: the one just issued, and all of them."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from linkspan.cli.control.listing import Column, Listing, plain
from linkspan.cli.control.screen import Screen
from linkspan.cli.control.views.commands import command_view
from linkspan.control.v1 import keys_pb2 as pb


def issued_view(found: pb.IssueKeyResponse, to: Path | None) -> RenderableType:
    said = command_view(found.command)
    if to is not None:
        return Group(said, Text(f"written to {plain(str(to))}"))
    return Group(said, Text(found.key, "bold"), Text("it is shown this once; send it as X-API-Key", "dim"))


def keys_view(found: pb.ListKeysResponse, screen: Screen) -> RenderableType:
    listing = Listing(
        Column("name"),
        Column("id"),
        Column("state"),
        Column("may", folds=True),
        Column("expires", spare=1),
        Column("last used"),
        Column("limits", spare=3, folds=True),
        Column("issued", spare=2),
        Column("by", spare=4),
    )
    for one in found.keys:
        expires = screen.moment(one.expires) if one.HasField("expires") else "never"
        used = screen.moment(one.last_used) if one.HasField("last_used") else "-"
        cells = (one.name, one.id, one.state, " ".join(one.scopes), expires, used, _limits(one))
        listing.add(
            *(*cells, screen.moment(one.issued), one.issued_by), style="" if one.state == "active" else "yellow"
        )
    return listing if listing.rows else Text("no keys")


def _limits(one: pb.ApiKey) -> str:
    burst = f" (at once {one.burst:,})" if one.burst else ""
    parts = [f"{one.rate:g}/s{burst}"] * bool(one.rate) + [f"{one.max_bytes:,} B"] * bool(one.max_bytes)
    return ", ".join(parts) or "-"
