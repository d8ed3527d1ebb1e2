"""``linkspan trace``."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from linkspan.cli.ended import CommandEnded, ExitCode
from linkspan.cli.output import Output
from linkspan.kernel.errors import UserMistake

if TYPE_CHECKING:
    from linkspan.cli.trace.jaeger import Jaeger, StoredSpan

_TRACE = re.compile(r"[0-9a-f]{32}")
#: Columns of what goes into a pipe, where every span stays on its line.
_UNWRAPPED = 10_000
#: Linked traces that are shown as well, at most.
MOST_LINKED = 20


def trace(
    name: Annotated[
        str, typer.Argument(metavar="ID", help="A correlation id, a trace id or a traceparent.", show_default=False)
    ],
    *,
    jaeger: Annotated[
        str, typer.Option(metavar="URL", envvar="LINKSPAN_JAEGER", help="Where Jaeger's query API is.")
    ] = "http://127.0.0.1:16686",
    linked: Annotated[bool, typer.Option(help="Show the traces that these link to as well.")] = True,
    output: Annotated[Output, typer.Option("--output", "-o", help="What is printed.")] = Output.TEXT,
) -> None:
    """Show the spans of a message as a tree, asked of Jaeger.

    With a correlation id, every trace of that story is shown: the message, its answer, redrives and replays.
    Exit code 1: Jaeger has none, because it was not sampled or is not there any more.
    """
    from linkspan.cli.trace.jaeger import Jaeger

    async def asked() -> list[list[StoredSpan]]:
        async with Jaeger(jaeger) as store:
            return await stories(store, name, linked=linked)

    found = asyncio.run(asked())
    if not found:
        raise CommandEnded(f"Jaeger has no span of {name}", ExitCode.NO)
    if output is Output.JSON:
        typer.echo(json.dumps([asdict(span) for spans in found for span in spans], indent=2))
        return
    from rich.console import Console

    from linkspan.cli.trace.tree import trace_tree

    console = Console()
    if not console.is_terminal:
        console = Console(width=_UNWRAPPED)
    for spans in found:
        console.print(trace_tree(spans))


async def stories(store: Jaeger, name: str, *, linked: bool) -> list[list[StoredSpan]]:
    """The spans of each trace that ``name`` means, and then of those that they link to. Raises UserMistake."""
    name = name.strip().lower()
    if name.startswith("00-") and len(name) == 55:
        name = name[3:35]
    if not name or len(name) > 200:
        raise UserMistake("say a correlation id, a trace id (32 hexadecimal digits) or a traceparent")
    wanted = [name] if _TRACE.fullmatch(name) else await store.find(name)
    found = {one: spans for one in wanted if (spans := await store.trace(one))}
    others = dict.fromkeys(link.trace for spans in found.values() for span in spans for link in span.links)
    for other in [one for one in others if one not in found][: MOST_LINKED if linked else 0]:
        if spans := await store.trace(other):
            found[other] = spans
    return list(found.values())
