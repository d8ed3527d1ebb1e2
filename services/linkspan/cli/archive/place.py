"""Where a command of ``linkspan archive`` works: the integration, Kafka and the archive."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from aiokafka.errors import KafkaError

from linkspan.archive.main import store_of
from linkspan.cli.ended import CommandEnded, ExitCode
from linkspan.kernel.archive.errors import ArchiveAway, ArchiveDamaged
from linkspan.kernel.archive.store import ArchiveStore
from linkspan.kernel.config import Settings, kafka_servers, read_settings
from linkspan.kernel.errors import KafkaAway, UserMistake
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_file import load_integration
from linkspan.kernel.tls.plain import check_encrypted

File = Annotated[Path, typer.Argument(help="The integration.yaml.", show_default=False)]


class Archiving(msgspec.Struct):
    integration: Integration
    settings: Settings
    clients: KafkaClients
    store: ArchiveStore


def archiving(file: Path, kafka: str | None = None) -> Archiving:
    """``kafka``: another address than MESSAGE_QUEUE_URL. Raises UserMistake."""
    integration = load_integration(file, os.environ)
    settings: Settings = read_settings()
    if kafka is not None:
        settings = settings.model_copy(update={"message_queue_url": _checked("--to", kafka)})
    check_encrypted(settings, integration)
    clients = KafkaClients(settings.kafka, settings.kafka_security, name="linkspan-archive")
    return Archiving(integration, settings, clients, store_of(settings, integration))


def _checked(option: str, url: str) -> str:
    try:
        kafka_servers(url)
    except ValueError as error:
        raise UserMistake(f"{option}: {error}") from error
    return url


def quiet() -> None:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


@contextmanager
def told() -> Iterator[None]:
    """What is away or damaged, in a line."""
    try:
        yield
    except ArchiveAway as error:
        raise CommandEnded(f"{error}; is LINKSPAN_ARCHIVE right?", ExitCode.AWAY) from error
    except ArchiveDamaged as error:
        raise CommandEnded(str(error), ExitCode.NO) from error
    except (KafkaError, OSError, TimeoutError) as error:
        raise KafkaAway(f"Kafka does not answer ({error}); is MESSAGE_QUEUE_URL right, and is it running?") from error
