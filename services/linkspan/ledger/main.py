"""``linkspan ledger``: folds events and outcomes of all flows into SQL."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
import uvloop
from starlette.applications import Starlette
from typer.core import TyperGroup

from linkspan.kernel.config import read_settings
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.kafka.quiet import quieten_kafka_clients
from linkspan.kernel.lifecycle import add_operations, address_of, bind, calm_collector, http_server, stop_event
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_file import catalog_for, load_integration
from linkspan.kernel.telemetry.logs import configure_logs
from linkspan.kernel.tls.plain import check_encrypted, listening
from linkspan.ledger.assignment import Assignment
from linkspan.ledger.commands import File, digest, kafka_clients, rebuild
from linkspan.ledger.follow import Follower
from linkspan.ledger.gather import Topics
from linkspan.ledger.settings import LedgerSettings
from linkspan.ledger.worker import Worker
from linkspan.readmodel.database import Database, open_database

log = structlog.get_logger()

#: Seconds; longer than a consumer may take to leave its group.
_CANCEL_AGAIN = 8.0


class _RunUnlessNamed(TyperGroup):
    """``linkspan ledger FILE`` is ``linkspan ledger run FILE``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            args = ["run", *args]
        return super().parse_args(ctx, args)


ledger_app = typer.Typer(cls=_RunUnlessNamed, help="Fold events and outcomes into SQL; without a command: run.")


async def run(
    integration_file: Path, host: str, port: int, settings: LedgerSettings, ready: Callable[[str], None]
) -> None:
    """Until SIGTERM or SIGINT. Raises UserMistake; that Kafka or the database is away is waited for."""
    stop = stop_event()
    integration = load_integration(integration_file, os.environ)
    check_encrypted(settings, integration)
    database = open_database(settings.database(integration.integration))
    served = listening(settings)
    listener = bind(host, port)
    address = address_of(listener, host, served)
    clients = kafka_clients(settings)
    assignment = Assignment(clients, integration.integration, Topics(integration))
    worker = _worker(clients, integration, database, assignment, settings)
    async with http_server(_operations(worker, assignment, database), listener, served):
        joining, working = asyncio.create_task(assignment.run()), asyncio.create_task(worker.run())
        saying = asyncio.create_task(_say(worker, lambda: ready(address)))
        stopping = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait({stopping, joining, working}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await _ended({stopping, saying, working, joining})
            database.close()


async def _ended(tasks: set[asyncio.Task[Any]]) -> None:
    """A library on the way may swallow a cancellation, so it is said again."""
    while tasks:
        for task in tasks:
            task.cancel()
        _, tasks = await asyncio.wait(tasks, timeout=_CANCEL_AGAIN)


async def _say(worker: Worker, ready: Callable[[], None]) -> None:
    await worker.begun.wait()
    ready()


def _worker(
    clients: KafkaClients,
    integration: Integration,
    database: Database,
    assignment: Assignment,
    settings: LedgerSettings,
) -> Worker:
    catalog = catalog_for(integration)

    def make() -> Follower:
        return Follower(clients, integration, catalog, database)

    return Worker(database, integration.integration, assignment, make, settings.linkspan_ledger_days)


def _operations(worker: Worker, assignment: Assignment, database: Database) -> Starlette:
    async def queue() -> str | None:
        return assignment.trouble

    app = Starlette()
    add_operations(
        app, ready=worker.ready, checks={"messageQueue": queue, "database": database.check, "ledger": worker.ready}
    )
    return app


ledger_app.command("rebuild")(rebuild)
ledger_app.command("digest")(digest)


@ledger_app.command("run")
def run_ledger(
    file: File = Path("integration.yaml"),
    host: Annotated[str | None, typer.Option(help="Address of the operations endpoints.")] = None,
    port: Annotated[
        int, typer.Option(envvar="LINKSPAN_PORT", help="Their port; 0 chooses one.", min=0, max=65535)
    ] = 8084,
) -> None:
    """Fold what comes, until stopped. Several may run: they share the partitions.

    Prints `ready http://<host>:<port>` once it folds.
    """
    settings: LedgerSettings = read_settings(LedgerSettings)
    configure_logs("ledger", settings.log_level)
    quieten_kafka_clients()
    calm_collector()
    uvloop.run(run(file, host or settings.linkspan_host, port, settings, lambda at: typer.echo(f"ready {at}")))
