"""``linkspan dead-letters``, ``redrive`` and ``discard``: what waits for a decision, and the decisions."""

from __future__ import annotations

import asyncio
import getpass
import json
import logging
import os
import re
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from linkspan.cli.audit import Output
from linkspan.kernel.commands import DISCARD, REDRIVE, Command, CommandCodec
from linkspan.kernel.config import Settings, read_settings
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_file import catalog_for, check_production, load_integration
from linkspan.kernel.topic_admin import KafkaAway
from linkspan.kernel.topics import control_topic
from linkspan.readmodel.letters import Letter, letters

_NAME = re.compile(r"(\d+):(\d+)")
_LIMIT = 10.0

File = Annotated[Path, typer.Argument(help="The integration.yaml.", show_default=False)]
Which = Annotated[
    list[str] | None, typer.Argument(help="Dead letters as PARTITION:OFFSET, as dead-letters shows them.")
]
Flow = Annotated[str, typer.Option(help="The flow whose dead letters are meant.", show_default=False)]
Everything = Annotated[bool, typer.Option("--all", help="All dead letters that the flow has now.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept with the command.", show_default=False)]
Sure = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def dead_letters(
    file: File,
    *,
    flow: Annotated[list[str] | None, typer.Option(help="Only this flow; may be repeated.")] = None,
    output: Annotated[Output, typer.Option(help="For a person, or for a program.")] = Output.TEXT,
) -> None:
    """Show the messages that could not be delivered, why, and how many wait behind each.

    Exit code 0, also where there are none; 2: Kafka does not answer.
    """
    integration, clients = _opened(file)
    found = [letter for name in _flows(integration, flow or []) for letter in _of(integration, clients, name)]
    if output is Output.JSON:
        typer.echo(json.dumps([asdict(one) | {"at": _iso(one.at)} for one in found], indent=2))
    elif not found:
        typer.echo("no dead letters")
    else:
        _show(found)


def redrive(
    file: File, which: Which = None, *, flow: Flow, reason: Reason, everything: Everything = False, yes: Sure = False
) -> None:
    """Deliver dead letters again, and then the messages that wait behind them, in order.

    The owners of the partitions do so within a second; audit and dead-letters show what came of it.
    """
    _decide(REDRIVE, file, flow, which or [], reason, everything=everything, yes=yes)


def discard(
    file: File, which: Which = None, *, flow: Flow, reason: Reason, everything: Everything = False, yes: Sure = False
) -> None:
    """Give dead letters up for good, and deliver the messages that wait behind them, in order."""
    _decide(DISCARD, file, flow, which or [], reason, everything=everything, yes=yes)


def _decide(kind: str, file: Path, flow: str, which: list[str], reason: str, *, everything: bool, yes: bool) -> None:
    integration, clients = _opened(file)
    _flows(integration, [flow])
    if not reason.strip():
        raise UserMistake("--reason: say why, it is kept with the command")
    if bool(which) == everything:
        raise UserMistake("name dead letters as PARTITION:OFFSET, or all of them with --all")
    chosen = _chosen(flow, which, _of(integration, clients, flow), everything=everything)
    waiting = sum(one.waiting for one in chosen)
    typer.echo(f"{kind} {len(chosen)} dead letters of {flow}; {waiting} messages wait behind them")
    if chosen and not yes:
        typer.confirm("go on?", abort=True)
    commands = [Command(kind, flow, one.partition, one.offset, getpass.getuser(), reason) for one in chosen]
    asyncio.run(_give(clients, integration, commands))


def _chosen(flow: str, which: list[str], there: list[Letter], *, everything: bool) -> list[Letter]:
    if everything:
        return there
    names = {letter.name: letter for letter in there}
    for name in which:
        if not _NAME.fullmatch(name):
            raise UserMistake(f"{name}: expected PARTITION:OFFSET, such as 3:1042")
        if name not in names:
            raise UserMistake(f"{name}: {flow} has no such dead letter; linkspan dead-letters shows them")
    return [names[name] for name in dict.fromkeys(which)]


async def _give(clients: KafkaClients, integration: Integration, commands: list[Command]) -> None:
    """Raises KafkaAway."""
    codec, topic = CommandCodec(catalog_for(integration)), control_topic(integration.integration)
    try:
        async with asyncio.timeout(_LIMIT + len(commands) / 100), clients.producer() as producer:
            given = [await producer.send(topic, codec.encode(one), one.flow.encode(), 0) for one in commands]
            await asyncio.gather(*given)
    except (KafkaError, TimeoutError, OSError) as error:
        raise KafkaAway(f"Kafka took no command ({error!r}); dead-letters shows which were carried out") from error


def _opened(file: Path) -> tuple[Integration, KafkaClients]:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    integration = load_integration(file, os.environ)
    settings: Settings = read_settings()
    check_production(settings, integration)
    return integration, KafkaClients(settings.kafka, tls=settings.message_queue_url.startswith("kafka+ssl://"))


def _flows(integration: Integration, wanted: list[str]) -> list[str]:
    for name in wanted:
        if name not in integration.flows:
            raise UserMistake(f"--flow {name}: there is no such flow; there are {', '.join(integration.flows)}")
    return wanted or list(integration.flows)


def _of(integration: Integration, clients: KafkaClients, flow: str) -> list[Letter]:
    return asyncio.run(letters(clients, integration.integration, flow, integration.flows[flow].partitions))


def _show(found: list[Letter]) -> None:
    console = Console()
    if not console.is_terminal:
        for one in found:
            typer.echo(
                f"{one.flow} {one.name} key {one.key or '-'} {one.failure}, {one.attempts} attempts, "
                f"{one.waiting} waiting, {_iso(one.at)}, message {one.message_id or '-'}: {one.reason}"
            )
        return
    table = Table("flow", "letter", "key", "waiting", "why", "since")
    table.columns[3].justify = "right"
    for one in found:
        table.add_row(
            one.flow, one.name, one.key or "-", str(one.waiting), f"{one.failure}: {one.reason}", _iso(one.at)
        )
    console.print(table)


def _iso(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1e6, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
