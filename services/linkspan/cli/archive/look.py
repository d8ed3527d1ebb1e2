"""``linkspan archive list`` and ``verify``."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from linkspan.archive.verify import Found, listed, verified
from linkspan.cli.archive.place import Archiving, File, archiving, quiet, told
from linkspan.cli.ended import CommandEnded, ExitCode
from linkspan.cli.output import Output
from linkspan.kernel.archive.errors import ArchiveAway
from linkspan.kernel.telemetry.logs import configure_logs

How = Annotated[Output, typer.Option("--output", "-o", help="How to answer.")]


def list_archive(file: File = Path("integration.yaml"), *, output: How = Output.TEXT) -> None:
    """Show what is archived of each partition, by the names of the segments."""
    configure_logs("archive", "error")
    made = archiving(file)
    with told():
        found = asyncio.run(_listed(made))
    _show(made, found, output, _COLUMNS[:-1])


def verify(
    file: File = Path("integration.yaml"),
    *,
    kafka: Annotated[
        bool, typer.Option("--kafka/--no-kafka", help="Compare with what Kafka (MESSAGE_QUEUE_URL) still has.")
    ] = True,
    output: How = Output.TEXT,
) -> None:
    """Read every segment, and compare it with what Kafka still has. Exit code 1: something is not as it should be."""
    configure_logs("archive", "error")
    quiet()
    made = archiving(file)
    with told():
        found = asyncio.run(_verified(made, kafka=kafka))
    _show(made, found, output, _COLUMNS)
    if not all(one.whole for one in found):
        raise CommandEnded("the archive is not whole", ExitCode.NO)


async def _begun(made: Archiving) -> None:
    if await made.store.head() is None:
        raise ArchiveAway(f"there is no archive of {made.integration.integration} at {made.store.url}")


async def _listed(made: Archiving) -> list[Found]:
    await _begun(made)
    return await listed(made.integration, made.store)


async def _verified(made: Archiving, *, kafka: bool) -> list[Found]:
    await _begun(made)
    return [one async for one in verified(made.integration, made.store, made.clients if kafka else None)]


_COLUMNS = ("topic", "p", "from", "to", "records", "segments", "newest", "holes", "compared")


def _row(one: Found) -> list[str]:
    first, end = (one.segments[0].first, max(x.end for x in one.segments)) if one.segments else (0, 0)
    newest = max((x.newest for x in one.segments), default=0)
    said = datetime.fromtimestamp(newest / 1000, UTC).isoformat(timespec="seconds") if newest else ""
    missing = sum(b - a for a, b in one.holes)
    place = one.kept.place
    counts = (place.partition, first, end, one.records, len(one.segments))
    return [place.topic, *map(str, counts), said.replace("+00:00", "Z"), str(missing or ""), str(one.compared)]


def _show(made: Archiving, found: list[Found], output: Output, columns: tuple[str, ...]) -> None:
    if output is Output.JSON:
        archive = {"integration": made.integration.integration, "archive": made.store.url}
        typer.echo(json.dumps(archive | {"partitions": [_document(one) for one in found]}, indent=2))
        return
    console = Console(highlight=False, soft_wrap=True)
    table = Table(*columns, box=None)
    for one in found:
        table.add_row(*_row(one)[: len(columns)])
    console.print(table)
    for one in found:
        place = one.kept.place
        for first, end in one.holes:
            console.print(f"{place.topic} {place.partition}: {first}-{end} is missing")
        for line in one.wrong:
            console.print(f"{place.topic} {place.partition}: {line}")


def _document(one: Found) -> dict[str, Any]:
    return {
        "topic": one.kept.place.topic,
        "partition": one.kept.place.partition,
        "first": one.segments[0].first if one.segments else None,
        "end": max((x.end for x in one.segments), default=None),
        "records": one.records,
        "segments": [x.name for x in one.segments],
        "holes": [{"first": first, "end": end} for first, end in one.holes],
        "kafka": {"first": one.begin, "end": one.end} if one.end >= 0 else None,
        "compared": one.compared,
        "wrong": one.wrong,
    }
