"""``linkspan topics``: creates an integration's topics, and says where existing ones are not as they should be."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from linkspan.kernel.config import Settings, read_settings
from linkspan.kernel.spec_file import check_production, load_integration
from linkspan.kernel.topic_admin import check_topics


def topics(
    file: Annotated[Path, typer.Argument(help="The integration.yaml.", show_default=False)],
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Create nothing; only say what is missing or differs.")
    ] = False,
    replication: Annotated[
        int | None, typer.Option(min=1, help="Copies of each partition; by default 3, or as many as there are brokers.")
    ] = None,
) -> None:
    """Create the topics that are missing in Kafka (MESSAGE_QUEUE_URL), with their policies.

    Exit code 0: all are as they should be; 1: one is missing (--check) or differs; 2: Kafka does not answer.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    integration = load_integration(file, os.environ)
    settings: Settings = read_settings()
    check_production(settings, integration)
    tls = settings.message_queue_url.startswith("kafka+ssl://")
    report = asyncio.run(check_topics(settings.kafka, integration, replication, tls=tls, create=not check))
    for name in report.created:
        typer.echo(f"created {name}")
    for line in report.differences:
        typer.echo(line)
    if report.differences:
        raise typer.Exit(1)
    typer.echo("all topics are as they should be")
