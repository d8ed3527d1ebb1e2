"""How the account of a control replica looks."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from linkspan.cli.audit_view import missing_line, sums_view
from linkspan.cli.control.listing import plain
from linkspan.cli.control.screen import Screen
from linkspan.control.v1.audit_pb2 import AuditResponse, FlowAccount

_TERMS = (
    "accepted",
    "delivered",
    "in_flight",
    "held",
    "dead_lettered",
    "expired",
    "filtered",
    "duplicate",
    "superseded",
    "discarded",
    "unaccounted",
    "repeats",
)


def audit_view(found: AuditResponse, screen: Screen) -> RenderableType:
    sums = {one.flow: {name: getattr(one, name) for name in _TERMS} for one in found.accounts}
    verdict = Text("balanced", "green") if found.balanced else Text("NOT balanced", "bold red")
    verdict.append(f"; {sum(one.records for one in found.accounts):,} records read", "not bold default")
    notes = [Text(line, "red") for one in found.accounts for line in _notes(one, screen)]
    return Group(sums_view(sums, screen.console), *notes, verdict)


def _notes(account: FlowAccount, screen: Screen) -> list[str]:
    lines = [
        missing_line(account.flow, one.partition, one.offset, plain(one.message_id), screen.exact(one.at))
        for one in account.missing
    ]
    if account.unaccounted > len(lines):
        lines.append(f"{account.flow}: and {account.unaccounted - len(lines)} more")
    if account.strays:
        lines.append(f"{account.flow}: {account.strays} outcomes are about offsets that hold no event")
    return lines
