"""``linkspan topics``: creates an integration's topics, and says where existing ones are not as they should be."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from aiokafka.errors import KafkaError

from linkspan.kernel.config import Settings, read_settings
from linkspan.kernel.errors import KafkaAway
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_file import catalog_for, load_integration
from linkspan.kernel.tls.plain import check_encrypted
from linkspan.kernel.topic_admin import TooFewBrokers, TopicReport, check_topics
from linkspan.readmodel.copies import unfinished_copies

_ASK_AGAIN = 1.0


def topics(
    file: Annotated[Path, typer.Argument(help="The integration.yaml.", show_default=False)],
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Create nothing; only say what is missing or differs.")
    ] = False,
    replication: Annotated[
        int | None, typer.Option(min=1, help="Copies of each partition; by default 3, or as many as there are brokers.")
    ] = None,
    wait: Annotated[
        float, typer.Option(min=0, max=3600, help="Seconds that Kafka has to answer, with as many brokers as copies.")
    ] = 0.0,
) -> None:
    """Create the topics that are missing in Kafka (MESSAGE_QUEUE_URL), with their policies.

    Exit code 0: all are as they should be; 1: one is missing (--check) or differs; 3: Kafka does not answer.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    integration = load_integration(file, os.environ)
    settings: Settings = read_settings()
    check_encrypted(settings, integration)
    security = settings.kafka_security
    asked = partial(check_topics, settings.kafka, integration, replication, security=security, create=not check)
    report = asyncio.run(_answered(asked, time.monotonic() + wait))
    waiting = asyncio.run(_waiting(KafkaClients(settings.kafka, security), integration))
    for name in report.created:
        typer.echo(f"created {name}")
    for line in report.differences:
        typer.echo(line)
    for line in waiting:
        typer.echo(line)
    if report.differences or waiting:
        raise typer.Exit(1)
    typer.echo("all topics are as they should be")


async def _waiting(clients: KafkaClients, integration: Integration) -> list[str]:
    """Flows that do not have all that they are to have. Raises KafkaAway."""
    try:
        return [
            f"{flow}: does not have all of {source} yet: linkspan repartition {flow} FILE"
            async for flow, source in unfinished_copies(clients, integration, catalog_for(integration))
        ]
    except (KafkaError, OSError, TimeoutError) as error:
        raise KafkaAway(f"Kafka does not answer ({error}); is it running?") from error


async def _answered(ask: Callable[[], Awaitable[TopicReport]], deadline: float) -> TopicReport:
    """Raises KafkaAway, TooFewBrokers once the deadline (monotonic) has passed."""
    while True:
        try:
            return await ask()
        except (KafkaAway, TooFewBrokers):
            if time.monotonic() >= deadline:
                raise
        await asyncio.sleep(_ASK_AGAIN)
