"""``linkspan insight``: flow statistics and conversations, by Faust."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import structlog
import typer
from aiokafka.errors import KafkaError
from starlette.applications import Starlette

from linkspan.insight.app import Streams
from linkspan.insight.conversations import Keeping
from linkspan.insight.counting import Counting
from linkspan.insight.pipeline import Pipeline
from linkspan.insight.place import Place
from linkspan.insight.plan import Plan
from linkspan.insight.report import Reporter
from linkspan.insight.settings import InsightSettings
from linkspan.insight.talks import Talks
from linkspan.insight.watch import Stalled, Watch
from linkspan.kernel.codec import OutcomeCodec, RecordCodec
from linkspan.kernel.config import read_settings
from linkspan.kernel.errors import KafkaAway, LinkspanError, UserMistake
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.kafka.published import PublishedSchemas
from linkspan.kernel.kafka.quiet import quieten_kafka_clients
from linkspan.kernel.kafka.timing import Timing
from linkspan.kernel.lifecycle import add_operations, address_of, bind, calm_collector, http_server, stop_event
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_file import catalog_for, load_integration
from linkspan.kernel.telemetry.logs import configure_logs
from linkspan.kernel.tls.plain import check_encrypted, listening
from linkspan.kernel.topic_admin import check_topics

log = structlog.get_logger()

_ASK_AGAIN = 2.0


class GaveUp(LinkspanError):
    """Faust stopped by itself."""


class Worker:
    """One worker of the integration, put together."""

    def __init__(self, integration: Integration, settings: InsightSettings, directory: Path, address: str) -> None:
        plan, catalog = Plan.of(integration), catalog_for(integration)
        timing = Timing(settings.linkspan_session_seconds)
        clients = KafkaClients(settings.kafka, settings.kafka_security, timing=timing)
        self.schemas = PublishedSchemas(clients, integration.integration, catalog)
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self.streams = Streams(plan, settings, clients, directory, address)
        self.watch = Watch(clients, plan, settings.linkspan_stall_seconds, self.streams.partitions)
        counting = Counting(self.streams.windows, OutcomeCodec(catalog))
        self.pipeline = Pipeline(plan, self.streams, counting, self._talks(plan, catalog, settings), self.watch)
        codec = RecordCodec(catalog, "WindowStatus")
        self.reporter = Reporter(self.name, clients, plan, codec, self.pipeline, self.watch)

    def _talks(self, plan: Plan, catalog: SchemaCatalog, settings: InsightSettings) -> Talks | None:
        if self.streams.conversations is None:
            return None
        keep, overdue = settings.linkspan_insight_keep_seconds, settings.linkspan_insight_overdue_seconds
        keeping = Keeping(int(keep * 1e6), int(overdue * 1e6))
        return Talks(plan, self.streams.conversations, RecordCodec(catalog, "Conversation"), keeping)

    async def trouble(self) -> str | None:
        if not self.streams.settled:
            return "partitions are being assigned, or tables recovered"
        return self.watch.trouble

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Until ``stop``. Raises Stalled, GaveUp."""
        parts = (self.streams.start(), self.pipeline.run(), self.watch.run(), self.reporter.run(), self.schemas.run())
        tasks = [asyncio.create_task(part) for part in parts]
        telling = asyncio.create_task(self._tell(ready))
        try:
            while not stop.is_set():
                done, _ = await asyncio.wait(tasks, timeout=0.2, return_when=asyncio.FIRST_EXCEPTION)
                for task in done:
                    task.result()
                if self.streams.crashed is not None:
                    raise GaveUp(f"Faust gave up: {self.streams.crashed}")
        finally:
            for task in (*tasks, telling):
                task.cancel()
            await asyncio.gather(*tasks, telling, return_exceptions=True)
            await asyncio.gather(self.streams.stop(), self.reporter.close())

    async def _tell(self, ready: Callable[[], None]) -> None:
        while True:
            if await self.trouble() is None:
                break
            await asyncio.sleep(0.1)
        log.info("counting", worker=self.name)
        ready()


async def run(
    integration_file: Path,
    host: str,
    port: int,
    settings: InsightSettings,
    ready: Callable[[str], None] = lambda _address: None,
) -> None:
    """Until SIGTERM or SIGINT. Raises UserMistake, Stalled, GaveUp; that Kafka is away is waited for."""
    stop = stop_event()
    integration = load_integration(integration_file, os.environ)
    check_encrypted(settings, integration)
    place = Place(settings.linkspan_data / f"insight-{integration.integration}")
    served = listening(settings)
    listener = bind(host, port)
    address = address_of(listener, host, served)
    worker = Worker(integration, settings, place.directory, address)
    app = Starlette()
    add_operations(app, ready=worker.trouble, checks={"messageQueue": worker.trouble})
    async with http_server(app, listener, served):
        await _topics_there(stop, integration, settings, worker.schemas)
        if not stop.is_set():
            await worker.run(stop, lambda: ready(address))


async def _topics_there(
    stop: asyncio.Event, integration: Integration, settings: InsightSettings, schemas: PublishedSchemas
) -> None:
    """And what is written to them can be read by every version. Raises UserMistake: Faust never sees a topic that is
    made after its start."""
    while not stop.is_set():
        try:
            report = await check_topics(settings.kafka, integration, security=settings.kafka_security, create=False)
        except KafkaAway as error:
            log.warning("waiting for Kafka", error=str(error))
            await asyncio.sleep(_ASK_AGAIN)
            continue
        missing = [line for line in report.differences if ": is missing" in line]
        if missing:
            raise UserMistake("\n".join([*missing, "linkspan topics makes them"]))
        try:
            await schemas.ready()
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("waiting for Kafka", error=repr(error))
            await asyncio.sleep(_ASK_AGAIN)
            continue
        return


def insight(
    file: Annotated[Path, typer.Argument(help="The integration file.")] = Path("integration.yaml"),
    host: Annotated[str | None, typer.Option(help="Address of the operations endpoints.")] = None,
    port: Annotated[
        int, typer.Option(envvar="LINKSPAN_PORT", help="Their port; 0 chooses one.", min=0, max=65535)
    ] = 8085,
) -> None:
    """Counts what flows, and puts requests and their answers together."""
    settings: InsightSettings = read_settings(InsightSettings)
    configure_logs("insight", settings.log_level)
    quieten_kafka_clients()
    for name in ("faust", "mode"):
        logging.getLogger(name).setLevel(logging.INFO if settings.log_level.lower() == "debug" else logging.ERROR)
    calm_collector()
    try:
        asyncio.run(run(file, host or settings.linkspan_host, port, settings, lambda at: typer.echo(f"ready {at}")))
    except (Stalled, GaveUp):
        log.exception("insight ends, to be started anew")
        sys.stdout.flush()
        os._exit(1)  # Faust's threads may be what hangs
