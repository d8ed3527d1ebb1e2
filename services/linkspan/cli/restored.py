"""``linkspan restored FILE``: what a Kafka that was restored has lost, and its state put right. Reads Kafka itself."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from linkspan.cli.output import Output
from linkspan.egress.own.store import StateLost
from linkspan.egress.restore.look import Found
from linkspan.egress.restore.restored import Everything, Restoration
from linkspan.kernel.config import Settings, read_settings
from linkspan.kernel.errors import KafkaAway, UserMistake
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_file import catalog_for, load_integration
from linkspan.kernel.telemetry.logs import configure_logs
from linkspan.kernel.tls.plain import check_encrypted

#: Lost messages of a partition that are named in text; JSON has all.
_NAMED = 20


def restored(
    file: Annotated[Path, typer.Argument(help="The integration.yaml.", show_default=False)],
    *,
    write: Annotated[bool, typer.Option("--write", help="Put the state right, after a question.")] = False,
    skip: Annotated[
        int,
        typer.Option(
            min=0,
            help="Offsets of events to leave out for messages that were lost without a trace: at least what a "
            "partition takes in the time that the mirror was behind.",
        ),
    ] = 1000,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; --write keeps it in the audit trail.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    output: Annotated[Output, typer.Option("--output", "-o", help="How to answer.")] = Output.TEXT,
) -> None:
    """Say what is lost after Kafka was restored from a mirror, and with --write make it deliverable.

    Stop all processes first; Kafka is at MESSAGE_QUEUE_URL. Exit code 1: owners refuse some partition as it is.
    """
    configure_logs("restored", "error")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    if write and not reason.strip():
        raise UserMistake("--reason: say why, it is kept in the audit trail")
    integration = load_integration(file, os.environ)
    settings: Settings = read_settings()
    check_encrypted(settings, integration)
    clients = KafkaClients(settings.kafka, settings.kafka_security)
    try:
        code = asyncio.run(_run(clients, integration, _Wanted(write, skip, reason, yes, output)))
    except (KafkaError, TimeoutError, OSError, StateLost) as error:
        raise KafkaAway(f"Kafka does not answer ({error}); is MESSAGE_QUEUE_URL right, and is it running?") from error
    raise typer.Exit(code)


class _Wanted:
    def __init__(self, write: bool, skip: int, reason: str, yes: bool, output: Output) -> None:
        self.write, self.skip, self.reason, self.yes = write, skip, reason, yes
        self.json = output is Output.JSON


async def _run(clients: KafkaClients, integration: Integration, wanted: _Wanted) -> int:
    aside = Console(stderr=True, highlight=False)

    def say(what: str, done: int, of: int) -> None:
        if aside.is_terminal:
            aside.print(f"{what}: {done} of {of}", end="\r")

    work = Restoration(clients, integration, catalog_for(integration), say)
    everything = await work.look()
    if wanted.write:
        _refuse(everything)
        if not wanted.json:
            _show(everything)
        sure(f"write the state of {len(everything.found)} partitions of {integration.integration}", yes=wanted.yes)
        await work.write(everything, wanted.skip, wanted.reason)
    if wanted.json:
        typer.echo(json.dumps(_document(integration.integration, everything, wanted), indent=2))
    elif wanted.write:
        typer.echo("written: start egress, then ingress, then fold the ledger again (linkspan ledger rebuild)")
    else:
        _show(everything)
        typer.echo(_next(everything))
    return int(bool(everything.moved) or (not wanted.write and any(one.why for one in everything.found)))


def _refuse(everything: Everything) -> None:
    """Raises UserMistake."""
    if everything.running:
        raise UserMistake("\n".join(everything.running))
    for one in everything.moved:
        raise UserMistake(_moved(one))


def _moved(found: Found) -> str:
    return (
        f"{found.flow} {found.partition}: events stand {found.moved:+} offsets from where outcomes name them; copy the "
        "topic again so that each record keeps its offset (docs/runbooks/kafka-restored.md)"
    )


def sure(what: str, *, yes: bool) -> None:
    """Raises UserMistake, or typer.Abort for a no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserMistake("nobody can be asked here, nothing was done: --yes goes on without asking")
    typer.confirm(what, abort=True, err=True)


def _next(everything: Everything) -> str:
    lines = [*everything.running]
    lines += [
        f"the replay {plan} was under way: cancel it when egress runs, and plan it anew" for plan in everything.replays
    ]
    if not any(one.why for one in everything.found):
        return "\n".join([*lines, "every partition can be taken over as it is"])
    return "\n".join([*lines, "nothing was changed; --write --reason TEXT makes these partitions deliverable"])


def _show(everything: Everything) -> None:
    console = Console(highlight=False, soft_wrap=True)
    table = Table(*_COLUMNS, box=None)
    for one in everything.found:
        table.add_row(*map(str, _row(one)))
    console.print(table)
    for one in everything.found:
        if one.why:
            console.print(f"{one.flow} {one.partition}: {one.why}")
        if one.moved:
            console.print(_moved(one))
        _name(console, one, "lost", one.lost)
        for offset in one.mending.given_up:
            console.print(f"{one.flow} {one.partition}: {offset} waited in parked and is lost with its event")


_COLUMNS = (
    *("flow", "p", "events", "lost", "to deliver", "held keys", "copied anew", "copies dropped"),
    *("letters found", "given up", "offsets taken"),
)


def _row(one: Found) -> list[object]:
    mending = one.mending
    counts = (mending.remade, mending.dropped, [*mending.dead, *mending.adopted], mending.given_up)
    return [
        *(one.flow, one.partition, f"{one.events[0]}-{one.events[1]}", len(one.lost), one.again, len(one.holds)),
        *map(len, counts),
        one.taken,
    ]


def _name(console: Console, one: Found, what: str, ids: dict[int, str]) -> None:
    for offset, message_id in [*sorted(ids.items())][:_NAMED]:
        console.print(f"{one.flow} {one.partition}: {what} {offset} {message_id}")
    if len(ids) > _NAMED:
        console.print(f"{one.flow} {one.partition}: {what}: and {len(ids) - _NAMED} more (-o json has all)")


def _document(integration: str, everything: Everything, wanted: _Wanted) -> dict[str, Any]:
    return {
        "integration": integration,
        "cluster": everything.cluster,
        "written": wanted.write,
        "running": everything.running,
        "replays": everything.replays,
        "partitions": [
            {
                **dict(zip(("flow", "partition"), (one.flow, one.partition), strict=True)),
                "events": {"first": one.events[0], "end": one.events[1]},
                "outcomes": {"first": one.outcomes[0], "end": one.outcomes[1]},
                "lost": [{"offset": offset, "message_id": said} for offset, said in sorted(one.lost.items())],
                "to_deliver": one.again,
                "held_keys": len(one.holds),
                "copied_anew": sorted(one.mending.remade),
                "copies_dropped": sorted(one.mending.dropped),
                "letters_found": sorted([*one.mending.dead, *one.mending.adopted]),
                "given_up": sorted(one.mending.given_up),
                "offsets_taken": one.taken,
                "moved": one.moved,
                "refused": one.why,
            }
            for one in everything.found
        ],
    }
