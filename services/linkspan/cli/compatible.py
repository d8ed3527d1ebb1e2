"""``linkspan compatible FILE``: whether this version fits what stands in Kafka."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from linkspan import __version__
from linkspan.cli.output import Output
from linkspan.kernel.config import Settings, read_settings
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.schemas import packaged_schemas
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_file import catalog_for, load_integration
from linkspan.kernel.tls.plain import check_encrypted
from linkspan.readmodel.compatible.finding import Finding
from linkspan.readmodel.compatible.look import findings


def compatible(
    file: Annotated[Path, typer.Argument(help="The integration file that this version would run with.")] = Path(
        "integration.yaml"
    ),
    output: Annotated[Output, typer.Option("--output", "-o", help="How to answer.")] = Output.TEXT,
) -> None:
    """Say whether this version and this file fit what stands in Kafka, before an upgrade.

    Kafka is at MESSAGE_QUEUE_URL. Exit code 0: it fits; 1: something stops it; 2: a mistake in the file; 3: Kafka does
    not answer.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    integration = load_integration(file, os.environ)
    settings: Settings = read_settings()
    check_encrypted(settings, integration)
    clients = KafkaClients(settings.kafka, settings.kafka_security)
    folders = {packaged_schemas().resolve(), *([integration.schemas.resolve()] if integration.schemas else [])}
    found = asyncio.run(findings(clients, integration, catalog_for(integration), sorted(folders)))
    (_as_json if output is Output.JSON else _as_text)(integration, found)
    if any(one.stops for one in found):
        raise typer.Exit(1)


def _as_json(integration: Integration, found: Sequence[Finding]) -> None:
    made = {
        "integration": integration.integration,
        "version": __version__,
        "compatible": not any(one.stops for one in found),
        "findings": [asdict(one) for one in found],
    }
    typer.echo(json.dumps(made, indent=2))


def _as_text(integration: Integration, found: Sequence[Finding]) -> None:
    for one in found:
        typer.echo(f"{'stops' if one.stops else 'note'}  {one}")
    fits = not any(one.stops for one in found)
    what = "fits what stands in Kafka" if fits else "must not be started on what stands in Kafka"
    typer.echo(f"{integration.integration}: version {__version__} {what}")
