"""``linkspan repartition FLOW FILE``: copies a flow into topics with another number of partitions, by Kafka itself."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from aiokafka.errors import KafkaError
from rich.console import Console

from linkspan.cli.ended import CommandEnded, ExitCode
from linkspan.cli.output import Output
from linkspan.cli.restored import sure
from linkspan.egress.own.store import StateLost
from linkspan.egress.repartition.look import Sight
from linkspan.egress.repartition.run import Repartition
from linkspan.kernel.config import Settings, read_settings
from linkspan.kernel.errors import KafkaAway, UserMistake
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.spec_file import catalog_for, load_integration
from linkspan.kernel.telemetry.logs import configure_logs
from linkspan.kernel.tls.plain import check_encrypted


def repartition(
    flow: Annotated[str, typer.Argument(help="A flow of the file that says copied_from.", show_default=False)],
    file: Annotated[Path, typer.Argument(help="The integration.yaml with that flow.", show_default=False)],
    *,
    write: Annotated[bool, typer.Option("--write", help="Copy it, after a question.")] = False,
    back: Annotated[
        bool, typer.Option("--back", help="Deliver the former flow again, as long as nothing ran on the copy.")
    ] = False,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept in the audit trail.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    output: Annotated[Output, typer.Option("--output", "-o", help="How to answer.")] = Output.TEXT,
) -> None:
    """Copy a flow into topics with another number of partitions, while nothing runs.

    Without --write it changes nothing. Kafka is at MESSAGE_QUEUE_URL. What was killed is begun again by the same
    command. Exit code 1: something is in the way, and is listed.
    """
    configure_logs("repartition", "error")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    if (write or back) and not reason.strip():
        raise UserMistake("--reason: say why, it is kept in the audit trail")
    if write and back:
        raise UserMistake("--write, --back: give one of them")
    integration = load_integration(file, os.environ)
    if flow not in integration.flows:
        raise UserMistake(f"{flow}: there is no such flow in {file}; there are {', '.join(integration.flows)}")
    settings: Settings = read_settings()
    check_encrypted(settings, integration)
    clients = KafkaClients(settings.kafka, settings.kafka_security, name="linkspan-repartition")
    work = Repartition(clients, integration, catalog_for(integration), flow, _said)
    running = _back(work, reason, yes) if back else _copy(work, integration.flows[flow].partitions, write, reason, yes)
    try:
        found = asyncio.run(running)
    except (KafkaError, TimeoutError, OSError, StateLost) as error:
        raise KafkaAway(f"Kafka does not answer ({error}); is MESSAGE_QUEUE_URL right, and is it running?") from error
    _show(found, output)


def _said(what: str, done: int, of: int) -> None:
    aside = Console(stderr=True, highlight=False)
    if aside.is_terminal:
        aside.print(f"{what}: {done} of {of}", end="\r")


async def _copy(work: Repartition, partitions: int, write: bool, reason: str, yes: bool) -> dict[str, Any]:
    mark = await work.mark()
    if mark is not None and mark.done:
        return _facts(work, {"copied": True}, "is copied already: start egress and ingress with this file")
    sight = await work.look()
    counts = _counts(sight, partitions) | {"begun": mark is not None}
    if sight.obstacles:
        return _facts(work, counts, "nothing was changed: something is in the way")
    if not write:
        return _facts(work, counts, "nothing was changed; --write --reason TEXT copies it")
    if not yes:
        _counted(Console(stderr=True, highlight=False, soft_wrap=True), counts)
    sure(f"copy flow {work.source} into {partitions} partitions of {work.target}", yes=yes)
    await work.write(sight, reason)
    then = "copied: start egress, then ingress with this file, then fold the ledger again (linkspan ledger rebuild)"
    return _facts(work, counts | {"copied": True}, then)


async def _back(work: Repartition, reason: str, yes: bool) -> dict[str, Any]:
    mark = await work.mark()
    if mark is None or not mark.done:
        raise UserMistake(f"{work.target} is no whole copy: {work.source} is delivered as before")
    sure(f"deliver flow {work.source} again instead of its copy {work.target}", yes=yes)
    await work.back(reason)
    return _facts(work, {"copied": False}, f"{work.source} is delivered again: start it with the former file")


def _facts(work: Repartition, more: Mapping[str, Any], then: str) -> dict[str, Any]:
    return {"source": work.source, "target": work.target, "copied": False, **more, "then": then}


def _counts(sight: Sight, partitions: int) -> dict[str, Any]:
    counts = sight.account.counts
    return {
        "partitions": {"source": sight.partitions, "target": partitions},
        "events": counts.accepted,
        "to_deliver": counts.in_flight,
        "outcomes": sum(end - first for first, end in sight.outcomes.values()),
        "first_offset": sight.begin,
        "obstacles": sight.obstacles,
    }


def _counted(console: Console, found: Mapping[str, Any]) -> None:
    if "events" in found:
        partitions = found["partitions"]
        console.print(f"partitions   {partitions['source']} -> {partitions['target']}")
        console.print(f"events       {found['events']}, of which {found['to_deliver']} are to be delivered")
        console.print(f"outcomes     {found['outcomes']}")
        console.print(f"offsets      the copy begins at {found['first_offset']}")


def _show(found: Mapping[str, Any], output: Output) -> None:
    """Raises CommandEnded where something is in the way."""
    obstacles = found.get("obstacles", [])
    if output is Output.JSON:
        typer.echo(json.dumps(found, indent=2))
    else:
        _counted(Console(highlight=False, soft_wrap=True), found)
        typer.echo("\n".join([*obstacles, f"{found['source']} -> {found['target']}: {found['then']}"]))
    if obstacles:
        raise CommandEnded(f"{found['source']} cannot be copied yet", ExitCode.NO)
