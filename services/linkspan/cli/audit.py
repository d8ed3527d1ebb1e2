"""``linkspan audit``: proves from the log what became of every message, and names those that nothing is known of."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import time
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from linkspan.kernel.config import Settings, read_settings
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_file import check_production, load_integration
from linkspan.readmodel.account import Account, Span, account

_AGO = re.compile(r"-(\d+(?:\.\d+)?)(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Output(StrEnum):
    TEXT = "text"
    JSON = "json"


def audit(
    file: Annotated[Path, typer.Argument(help="The integration.yaml.", show_default=False)],
    *,
    start: Annotated[
        str | None, typer.Option("--from", help="Only events from then on: ISO 8601 with a zone, or as -2h.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Only events before then.")] = None,
    flow: Annotated[list[str] | None, typer.Option(help="Only this flow; may be repeated.")] = None,
    output: Annotated[Output, typer.Option(help="For a person, or for a program.")] = Output.TEXT,
) -> None:
    """Prove from the log that accepted = delivered + in flight + held + dead-lettered + … for every flow.

    Exit code 0: nothing is unaccounted; 1: something is, and is listed; 2: a mistake, or Kafka does not answer.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    integration = load_integration(file, os.environ)
    settings: Settings = read_settings()
    check_production(settings, integration)
    span, flows = _span(start, end), _flows(integration, flow or [])
    clients = KafkaClients(settings.kafka, tls=settings.message_queue_url.startswith("kafka+ssl://"))
    began = time.monotonic()
    accounts = asyncio.run(_accounts(clients, integration, flows, span))
    seconds = time.monotonic() - began
    (_as_json if output is Output.JSON else _as_text)(integration.integration, accounts, seconds)
    if not all(found.counts.balanced for found in accounts):
        raise typer.Exit(1)


async def _accounts(clients: KafkaClients, integration: Integration, flows: list[str], span: Span) -> list[Account]:
    return [
        await account(clients, integration.integration, name, integration.flows[name].partitions, span)
        for name in flows
    ]


def _flows(integration: Integration, wanted: list[str]) -> list[str]:
    for name in wanted:
        if name not in integration.flows:
            raise UserMistake(f"--flow {name}: there is no such flow; there are {', '.join(integration.flows)}")
    return wanted or list(integration.flows)


def _span(start: str | None, end: str | None) -> Span:
    found = Span(_millis("--from", start), _millis("--to", end))
    if found.start is not None and found.end is not None and found.start >= found.end:
        raise UserMistake(f"--from {start} is not before --to {end}")
    return found


def _millis(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    ago = _AGO.fullmatch(text)
    if ago:
        return round((time.time() - float(ago[1]) * _SECONDS[ago[2]]) * 1000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise UserMistake(f"{option} {text}: expected a time such as 2026-01-31T12:00:00Z, or how long ago: -2h, -30m")
    return round(moment.timestamp() * 1000)


def _terms(found: Account) -> dict[str, int]:
    """Each term of the sum by its name, in the order of the equation, then what is not in it."""
    counts = found.counts
    delivered, *others = counts.statuses.items()
    terms = {"accepted": counts.accepted, "delivered": delivered[1], "in_flight": counts.in_flight, **dict(others)}
    return terms | {"unaccounted": counts.unaccounted + counts.gone, "repeats": counts.repeats}


def _shown(name: str) -> str:
    return "dead-lettered" if name == "dead_lettered" else name.replace("_", " ")


def _as_json(integration: str, accounts: list[Account], seconds: float) -> None:
    made: dict[str, Any] = {
        "integration": integration,
        "balanced": all(found.counts.balanced for found in accounts),
        "flows": {
            found.flow: _terms(found)
            | {"balanced": found.counts.balanced, "strays": found.counts.strays, "gone": found.counts.gone}
            | {"expired_by_retention": found.counts.expired_by_retention}
            for found in accounts
        },
        "unaccounted": [asdict(one) | {"at": _iso(one.at)} for found in accounts for one in found.missing],
        "records": sum(found.records for found in accounts),
        "seconds": round(seconds, 3),
    }
    typer.echo(json.dumps(made, indent=2))


def _as_text(_integration: str, accounts: list[Account], seconds: float) -> None:
    console = Console()
    if console.is_terminal:
        console.print(_table(accounts))
    else:
        for found in accounts:
            typer.echo(f"{found.flow}: {', '.join(f'{_shown(name)} {n}' for name, n in _terms(found).items())}")
    for found in accounts:
        _explain(found)
    records = sum(found.records for found in accounts)
    verdict = "balanced" if all(found.counts.balanced for found in accounts) else "NOT balanced"
    typer.echo(f"{verdict}; {records} records read in {seconds:.1f} s, {records / max(seconds, 1e-9):,.0f} a second")


def _table(accounts: list[Account]) -> Table:
    table = Table("", *(found.flow for found in accounts))
    for column in table.columns[1:]:
        column.justify = "right"
    terms = [_terms(found) for found in accounts]
    for name in terms[0]:
        wrong = name == "unaccounted" and any(one[name] for one in terms)
        table.add_row(_shown(name), *(f"{one[name]:,}" for one in terms), style="bold red" if wrong else None)
    return table


def _explain(found: Account) -> None:
    counts = found.counts
    if counts.gone:
        typer.echo(f"{found.flow}: {counts.gone} offsets were deleted by retention before they had an outcome")
    if counts.expired_by_retention:
        count = counts.expired_by_retention
        typer.echo(f"{found.flow}: expired (retention): {count} offsets were deleted before they were delivered")
    if counts.strays:
        typer.echo(f"{found.flow}: {counts.strays} outcomes are about offsets that hold no event")
    for one in found.missing:
        typer.echo(
            f"unaccounted: flow {one.flow}, partition {one.partition}, offset {one.offset}, "
            f"message {one.message_id or '(unknown)'}, accepted {_iso(one.at)}"
        )
    if counts.unaccounted > len(found.missing):
        typer.echo(f"{found.flow}: and {counts.unaccounted - len(found.missing)} more")


def _iso(millis: int) -> str:
    return datetime.fromtimestamp(millis / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
