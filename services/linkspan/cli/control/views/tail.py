"""How a line of the tail looks."""

from __future__ import annotations

from rich.text import Text

from linkspan.cli.control.listing import plain
from linkspan.cli.control.screen import Screen
from linkspan.cli.control.views.message import detail
from linkspan.cli.control.views.messages import kind_text
from linkspan.control.v1.messages_pb2 import TailMessagesResponse

_KIND = 14


def tail_line(found: TailMessagesResponse, screen: Screen) -> Text:
    kind = kind_text(found.entry.kind)
    line = Text.assemble((screen.clock(found.entry.at), "dim"), "  ", kind, " " * (_KIND - kind.cell_len))
    line.append(f"  {plain(found.flow)}/{found.partition}:{found.offset}")
    if found.HasField("key"):
        line.append(f"  key {plain(found.key)}")
    line.append(f"  {plain(found.message_id) or '-'}")
    if said := plain(detail(found.entry)):
        line.append(f"  {said}", "dim")
    return line
