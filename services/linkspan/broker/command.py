"""`linkspan broker`: Kafka in the foreground, until SIGTERM or Ctrl-C."""

import os
import signal
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from linkspan.broker import jars
from linkspan.broker.embedded import EmbeddedKafka
from linkspan.broker.errors import BrokerError
from linkspan.broker.locked import KAFKA_VERSION

POLL_SECONDS = 0.5


def broker(
    data_dir: Annotated[Path, typer.Option(help="Where Kafka keeps its data; made if it is new.")] = Path(
        ".linkspan/kafka"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where clients connect; 0 chooses a free port.")] = 9092,
) -> None:
    """Run a real Apache Kafka on this machine, without Docker: one node, for development and tests.

    Prints `ready 127.0.0.1:<port>` once it answers. Only programs on this machine can reach it.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    try:
        _check_plain_text()
        if not jars.are_fetched(jars.cache_dir()):
            typer.echo(f"fetching Kafka {KAFKA_VERSION} (45 MB), only this once", err=True)
        with EmbeddedKafka(data_dir, port or None) as kafka:
            typer.echo(f"ready {kafka.bootstrap}")
            _watch(kafka)
    except BrokerError as error:
        typer.echo(f"linkspan broker: {error}", err=True)
        raise SystemExit(2) from None


def _check_plain_text() -> None:
    if os.environ.get("LINKSPAN_PLAIN_TEXT") != "development":
        raise BrokerError("it speaks plain text, which is refused: for development set LINKSPAN_PLAIN_TEXT=development")


def _watch(kafka: EmbeddedKafka) -> NoReturn:
    while kafka.running:
        time.sleep(POLL_SECONDS)
    raise BrokerError(kafka.why_ended())


def _leave(_number: int, _frame: object) -> None:
    """Leaves by way of every `with`, which stops Kafka; a second signal does not break that off."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise SystemExit(0)
