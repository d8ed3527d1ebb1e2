"""``linkspan rollout start FILE``: begins a rollout or goes on with it, until the new version delivers everything."""

from __future__ import annotations

import asyncio
import getpass
import logging
import os
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from aiokafka.errors import KafkaError

from linkspan.cli.rollout.drive import Asked, Driver
from linkspan.cli.rollout.place import at_kafka
from linkspan.cli.when import length
from linkspan.control.rollouts import WHOLE
from linkspan.kernel.errors import KafkaAway, UserMistake
from linkspan.kernel.records.rollout import RolloutPlan
from linkspan.kernel.telemetry.logs import configure_logs

File = Annotated[Path, typer.Argument(help="The integration file.")]


def start(  # noqa: PLR0913 - each an option
    file: File = Path("integration.yaml"),
    *,
    to: Annotated[str, typer.Option(metavar="VERSION", help="The new version, as linkspan --version says it.")],
    stages: Annotated[
        str, typer.Option(help="Percent of each flow's partitions, rising; the last is 100.")
    ] = "10,25,50,100",
    stay: Annotated[str, typer.Option(metavar="TIME", help="How long each stage lasts but the last.")] = "1h",
    watch: Annotated[str, typer.Option(metavar="TIME", help="How long the last one is watched.")] = "24h",
    most_errors: Annotated[
        float, typer.Option(min=0, max=1, help="The largest share of failed attempts and dead letters that is well.")
    ] = 0.01,
    patience: Annotated[
        str, typer.Option(metavar="TIME", help="The new version may be away, or its breaker open, for so long.")
    ] = "1m",
    wait: Annotated[str, typer.Option(metavar="TIME", help="How long it waits for the first replica.")] = "30m",
    flow: Annotated[list[str] | None, typer.Option(help="Only this flow; may be repeated.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Also where it was stopped before.")] = False,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept in the audit trail.")] = "",
) -> None:
    """Let a new version take over more and more partitions, and give them all back where it does worse.

    Begin it before the first replica of the new version starts. Kafka is at MESSAGE_QUEUE_URL. Ended and started again
    it goes on. Exit code 1: it was stopped, and the old version delivers everything.
    """
    lengths = [length(*one) for one in (("--stay", stay), ("--watch", watch), ("--patience", patience))]
    rising = _stages(stages)
    if not to.strip():
        raise UserMistake("--to: name a version")
    plan = RolloutPlan(to.strip(), "", rising, lengths[0], lengths[1], most_errors, lengths[2], tuple(flow or ()))
    asked = Asked(plan, caller(), reason.strip() or f"rollout to {plan.to}", length("--wait", wait), again)
    raise typer.Exit(_driven(file, asked))


def _driven(file: Path, asked: Asked) -> int:
    """Raises UserMistake, KafkaAway."""
    quiet()
    try:
        return asyncio.run(_run(file, asked))
    except (KafkaError, TimeoutError, OSError) as error:
        raise KafkaAway(f"Kafka does not answer ({error}); is MESSAGE_QUEUE_URL right, and is it running?") from error


async def _run(file: Path, asked: Asked) -> int:
    async with at_kafka(file, os.environ) as place:
        return await Driver(place, asked, _say).run()


def _say(text: str) -> None:
    typer.echo(f"{datetime.now().astimezone():%H:%M:%S} {text}")


def quiet() -> None:
    configure_logs("rollout", "error")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def caller() -> str:
    """Who gives the command, as far as this machine knows."""
    try:
        return f"linkspan rollout ({getpass.getuser()})"
    except (OSError, KeyError):
        return "linkspan rollout"


def _stages(text: str) -> tuple[int, ...]:
    """Raises UserMistake."""
    try:
        found = tuple(int(one) for one in text.split(","))
    except ValueError:
        found = ()
    if not found or found[0] < 1 or found[-1] != WHOLE or list(found) != sorted(set(found)):
        raise UserMistake(f"--stages {text}: expected rising percentages that end with 100, such as 10,25,50,100")
    return found
