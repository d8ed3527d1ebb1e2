"""``linkspan archive restore``."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from linkspan.archive.restore import Back, restored
from linkspan.cli.archive.place import Archiving, File, archiving, quiet, told
from linkspan.cli.output import Output
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.telemetry.logs import configure_logs


def restore(
    file: File = Path("integration.yaml"),
    *,
    to: Annotated[str | None, typer.Option(metavar="kafka://…", help="By default MESSAGE_QUEUE_URL.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Only say what would be written.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    output: Annotated[Output, typer.Option("--output", "-o", help="How to answer.")] = Output.TEXT,
) -> None:
    """Write what is archived into the empty topics of a new Kafka, each record to its former offset.

    Make the topics with linkspan topics first, and stop all processes. Then: linkspan restored FILE --write.
    """
    configure_logs("archive", "error")
    quiet()
    made = archiving(file, to)
    if not check and not yes:
        _sure(f"write what is archived of {made.integration.integration} into Kafka at {made.clients.servers}")
    with told():
        found = asyncio.run(_restored(made, check=check))
    if output is Output.JSON:
        typer.echo(json.dumps({"written": not check, "partitions": [_document(one) for one in found]}, indent=2))
        return
    _show(found)
    typer.echo("nothing was written" if check else "written: now linkspan restored FILE --write, then start egress")


def _sure(what: str) -> None:
    """Raises UserMistake, or typer.Abort for a no."""
    if not sys.stdin.isatty():
        raise UserMistake("nobody can be asked here, nothing was done: --yes goes on without asking")
    typer.confirm(what, abort=True, err=True)


async def _restored(made: Archiving, *, check: bool) -> list[Back]:
    return [one async for one in restored(made.integration, made.store, made.clients, check=check)]


def _show(found: list[Back]) -> None:
    table = Table("topic", "p", "from", "to", "records", "newest", "in the archive alone", box=None)
    for one in found:
        counts = (one.kept.place.partition, one.first, one.end, one.records)
        table.add_row(one.kept.place.topic, *map(str, counts), _moment(one), str(one.left or ""))
    Console(highlight=False, soft_wrap=True).print(table)
    last = max((one for one in found if one.kept.what == "events"), key=lambda one: one.newest, default=None)
    if last is not None and last.newest:
        typer.echo(f"what came after {_moment(last)} was not archived: spools and senders may have it")


def _moment(one: Back) -> str:
    if not one.newest:
        return ""
    said = datetime.fromtimestamp(one.newest / 1000, UTC).isoformat(timespec="milliseconds")
    return said.replace("+00:00", "Z")


def _document(one: Back) -> dict[str, Any]:
    return {
        "topic": one.kept.place.topic,
        "partition": one.kept.place.partition,
        "first": one.first,
        "end": one.end,
        "records": one.records,
        "newest": _moment(one) or None,
        "in_the_archive_alone": one.left,
    }
