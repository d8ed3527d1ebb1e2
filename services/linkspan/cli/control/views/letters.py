"""How dead letters look: in groups, one by one, and one whole."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from linkspan.cli.control.listing import Column, Listing, plain
from linkspan.cli.control.screen import Screen, number_of
from linkspan.cli.control.views.message import facts, json_view
from linkspan.control.v1 import letters_pb2 as pb


def groups_view(found: pb.ListDeadLettersResponse, screen: Screen) -> RenderableType:
    listing = Listing(
        Column("flow"),
        Column("class"),
        Column("letters", right=True),
        Column("waiting", right=True, spare=1),
        Column("oldest", spare=3),
        Column("newest", spare=2),
        Column("fingerprint"),
        Column("reason of the newest", folds=True),
    )
    for one in found.groups:
        listing.add(
            *(one.flow, one.failure, one.letters, one.waiting, screen.moment(one.oldest), screen.moment(one.newest)),
            *(one.fingerprint, one.reason),
        )
    if not found.groups:
        return Text("no dead letters")
    total = Text(f"{number_of(found.total, 'dead letter')}; --each shows them one by one", "dim")
    return Group(listing, total)


def letters_view(found: pb.ListDeadLettersResponse, screen: Screen) -> RenderableType:
    listing = Listing(
        Column("flow"),
        Column("letter"),
        Column("key", spare=2),
        Column("waiting", right=True, spare=1),
        Column("since", spare=3),
        Column("charged", right=True, spare=5),
        Column("message id", spare=4),
        Column("class"),
        Column("reason", folds=True),
    )
    for one in found.letters:
        listing.add(
            *(one.flow, one.name, one.key if one.HasField("key") else "-", one.waiting, screen.moment(one.at)),
            *(one.attempts, one.message_id or "-", one.failure, one.reason),
        )
    if not found.letters:
        return Text("no dead letters")
    more = f"; {len(found.letters):,} are shown, --limit shows more" if found.next_page_token else ""
    return Group(listing, Text(f"{number_of(found.total, 'dead letter')}{more}", "dim"))


def letter_view(found: pb.GetDeadLetterResponse, screen: Screen) -> RenderableType:
    one = found.letter
    about = facts(
        ("why", Text(plain(f"{one.failure}: {one.reason}"), "red")),
        ("since", screen.moment(one.at)),
        ("charged", number_of(one.attempts, "attempt") if one.attempts else ""),
        ("key", one.key if one.HasField("key") else ""),
        ("waiting", f"{number_of(one.waiting, 'message')} of its key" if one.waiting else ""),
        ("message", one.message_id),
        ("correlation", one.correlation_id),
        ("group", one.fingerprint),
        ("size", number_of(len(found.value), "byte")),
        *(("header " + name, value) for name, value in sorted(found.headers.items())),
    )
    head = Text(plain(f"dead letter {one.flow} {one.name}"), "bold")
    return Group(head, about, *_content(found, screen), *_sent(found, screen))


def _content(found: pb.GetDeadLetterResponse, screen: Screen) -> list[RenderableType]:
    if found.decode_error:
        return [Text(), Text(f"it cannot be read: {plain(found.decode_error)}", "red")]
    return _part("content", found.content, screen)


def _sent(found: pb.GetDeadLetterResponse, screen: Screen) -> list[RenderableType]:
    if found.filtered:
        return [Text(), Text("today's transform filters it: nothing would be sent", "yellow")]
    if found.transform_error:
        return [Text(), Text(f"today's transform fails too: {plain(found.transform_error)}", "red")]
    return _part("would be sent today", found.would_send, screen)


def _part(title: str, content: str, screen: Screen) -> list[RenderableType]:
    return [Text(), Text(title, "bold"), json_view(content, screen)] if content else []
