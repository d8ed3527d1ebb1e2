"""``linkspan shadow FLOW FILE``: what this version would deliver, beside what was delivered."""

from __future__ import annotations

import asyncio
import difflib
import json
import logging
import os
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from linkspan import __version__
from linkspan.cli.output import Output
from linkspan.cli.when import length
from linkspan.control.fold import ControlState
from linkspan.kernel.blobs import BlobStore
from linkspan.kernel.commands import CommandCodec
from linkspan.kernel.config import Settings, read_settings
from linkspan.kernel.errors import KafkaAway, Poison, UserMistake
from linkspan.kernel.kafka.clients import KafkaClients, stop_consumer
from linkspan.kernel.kafka.reading import read_all
from linkspan.kernel.spec_file import catalog_for, load_integration
from linkspan.kernel.tls.plain import check_encrypted
from linkspan.kernel.topics import control_topic
from linkspan.replay.place import Place
from linkspan.replay.shadow import Bounds, Compared, Difference, Shadow


def shadow(  # noqa: PLR0913 - each an option
    flow: Annotated[str, typer.Argument(help="The flow that is looked at.")],
    file: Annotated[Path, typer.Argument(help="The integration file of this version.")] = Path("integration.yaml"),
    *,
    lasts: Annotated[str, typer.Option("--for", metavar="TIME", help="How long it looks.")] = "1h",
    messages: Annotated[int | None, typer.Option(min=1, help="Ends after so many were compared.")] = None,
    most_different: Annotated[
        float, typer.Option(min=0, max=1, help="The largest share of differences and failures that is well.")
    ] = 0.0,
    lookups: Annotated[float, typer.Option(min=0, help="Lookups a second that may ask the real systems.")] = 1.0,
    samples: Annotated[int, typer.Option(min=0, help="Differences that are shown.")] = 5,
    output: Annotated[Output, typer.Option("--output", "-o", help="How to answer.")] = Output.TEXT,
) -> None:
    """Transform live events with this version, send nothing, and compare with what was delivered.

    Kafka is at MESSAGE_QUEUE_URL; it is only read. Exit code 1: more than --most-different differ, or nothing was
    compared.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    bounds = Bounds(length("--for", lasts), messages, lookups, samples)
    found = asyncio.run(_run(_place(file, flow), flow, bounds))
    well = found.compared > 0 and found.share <= most_different
    if output is Output.JSON:
        typer.echo(json.dumps(_document(flow, found, well=well), indent=2))
    else:
        _show(flow, found, well=well)
    if not well:
        raise typer.Exit(1)


def _place(file: Path, flow: str) -> Place:
    """Raises UserMistake."""
    integration = load_integration(file, os.environ)
    settings: Settings = read_settings()
    check_encrypted(settings, integration)
    if flow not in integration.flows:
        raise UserMistake(f"{flow}: there is no such flow; there are {', '.join(integration.flows)}")
    clients = KafkaClients(settings.kafka, settings.kafka_security, name="linkspan-shadow")
    return Place(clients, integration, catalog_for(integration), BlobStore(settings.blobs))


async def _run(place: Place, flow: str, bounds: Bounds) -> Compared:
    try:
        run = Shadow(place, flow, partial(_texts, place, flow), bounds)
        try:
            return await run.run()
        finally:
            await run.close()
    except (KafkaError, TimeoutError, OSError) as error:
        raise KafkaAway(f"Kafka does not answer ({error}); is MESSAGE_QUEUE_URL right, and is it running?") from error


async def _texts(place: Place, flow: str) -> dict[str, str]:
    """Of the transforms that delivered something, as the control topic keeps them."""
    state, codec, reader = ControlState(), CommandCodec(place.catalog), place.clients.reader()
    found: list[Any] = []
    try:
        await reader.start()
        await read_all(reader, TopicPartition(control_topic(place.integration.integration), 0), 0, None, found.append)
    finally:
        await stop_consumer(reader)
    for record in found:
        try:
            state.fold(codec.read(record.value, record.headers))
        except Poison:
            continue
    return {hash_: text for (of, hash_), text in state.transforms.items() if of == flow}


def _document(flow: str, found: Compared, *, well: bool) -> dict[str, Any]:
    return {
        "flow": flow,
        "version": __version__,
        "well": well,
        "compared": found.compared,
        "equal": found.equal,
        "different": found.different,
        "failed": found.failed,
        "not_comparable": dict(found.not_comparable),
        "share": round(found.share, 6),
        "samples": [msgspec.to_builtins(one) for one in found.samples],
    }


def _show(flow: str, found: Compared, *, well: bool) -> None:
    for one in found.samples:
        typer.echo("\n".join(_lines(one)))
    for why, count in found.not_comparable.most_common():
        typer.echo(f"not comparable: {count}: {why}")
    typer.echo(
        f"{flow}: compared {found.compared}, equal {found.equal}, different {found.different}, failed {found.failed}"
    )
    said = "delivers what is delivered now" if well else "does not deliver what is delivered now"
    typer.echo(f"version {__version__} {said}" if found.compared else "nothing was compared")


def _lines(one: Difference) -> list[str]:
    head = f"{one.partition}:{one.offset} {one.message_id}{f': {one.error}' if one.error else ''}"
    if not (one.then and one.now):
        return [head]
    said = list(difflib.unified_diff(_indented(one.then), _indented(one.now), lineterm="", n=2))
    changed = [line for line in said if not line.startswith(("@@", "---", "+++"))]
    return [head, *changed] if changed else [f"{head}: the transform makes the same; a step, or the header, does not"]


def _indented(text: str) -> list[str]:
    return json.dumps(json.loads(text), indent=2, ensure_ascii=False).splitlines()
