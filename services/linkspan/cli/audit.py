"""``linkspan audit FILE``: the proof read from Kafka itself, for when no replica runs."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from linkspan.cli.audit_view import missing_line, sums_view
from linkspan.cli.output import Output
from linkspan.cli.when import span
from linkspan.kernel.config import Settings, read_settings
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_file import load_integration
from linkspan.kernel.tls.plain import check_encrypted
from linkspan.readmodel.account import Account, Span, account


def audit_log(file: Path, start: str | None, end: str | None, flow: list[str], output: Output) -> None:
    """Reads Kafka itself. Raises UserMistake, also where Kafka does not answer; typer.Exit 1 for unaccounted events."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    integration = load_integration(file, os.environ)
    settings: Settings = read_settings()
    check_encrypted(settings, integration)
    span, flows = _span(start, end), _flows(integration, flow)
    clients = KafkaClients(settings.kafka, settings.kafka_security)
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
    found = span(("--from", start), ("--to", end))
    return Span(*(None if at is None else at // 1000 for at in found))


def _terms(found: Account) -> dict[str, int]:
    """Each term of the sum by its name, in the order of the equation, then what is not in it."""
    counts = found.counts
    delivered, *others = counts.statuses.items()
    terms = {"accepted": counts.accepted, "delivered": delivered[1], "in_flight": counts.in_flight, **dict(others)}
    return terms | {"unaccounted": counts.unaccounted + counts.gone, "repeats": counts.repeats}


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
    console = Console(soft_wrap=True)
    console.print(sums_view({found.flow: _terms(found) for found in accounts}, console))
    for found in accounts:
        _explain(found)
    records = sum(found.records for found in accounts)
    verdict = "balanced" if all(found.counts.balanced for found in accounts) else "NOT balanced"
    typer.echo(f"{verdict}; {records} records read in {seconds:.1f} s, {records / max(seconds, 1e-9):,.0f} a second")


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
        typer.echo(missing_line(one.flow, one.partition, one.offset, one.message_id, _iso(one.at)))
    if counts.unaccounted > len(found.missing):
        typer.echo(f"{found.flow}: and {counts.unaccounted - len(found.missing)} more")


def _iso(millis: int) -> str:
    return datetime.fromtimestamp(millis / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
