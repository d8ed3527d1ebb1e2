"""``linkspan ingress``: puts the parts together, and takes them apart in the order that loses nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
import uvloop

from linkspan.control.fold import ControlState
from linkspan.control.host import Host
from linkspan.control.plane import ControlPlane
from linkspan.control.settings import ControlSettings
from linkspan.control.tail import ControlTail
from linkspan.ingress.accept.batch import Batch
from linkspan.ingress.accept.cursor import Cursor
from linkspan.ingress.accept.docs import application
from linkspan.ingress.accept.feed import Feed
from linkspan.ingress.accept.guard import Guard, Patience
from linkspan.ingress.accept.hot import Hot, HotProtocol
from linkspan.ingress.accept.http import Messages, Route, Routes
from linkspan.ingress.accept.items import Items
from linkspan.ingress.accept.leadership import Leadership
from linkspan.ingress.accept.poller import Poller
from linkspan.ingress.accept.standing import Standing
from linkspan.ingress.accept.wait import OutcomeWatch
from linkspan.ingress.accept.websocket import Source as WebSocketSource
from linkspan.ingress.admit.door import Door
from linkspan.ingress.admit.remembered import RememberedKeys
from linkspan.ingress.admit.uses import KeyUses
from linkspan.ingress.append.appender import Appender
from linkspan.ingress.append.spool import Spool
from linkspan.ingress.flows import FlowIntake, flow_intakes
from linkspan.ingress.pipeline import Pipeline
from linkspan.ingress.prepare import Preparing
from linkspan.ingress.reach import system_checks
from linkspan.ingress.seal import Sealing
from linkspan.ingress.settings import IngressSettings
from linkspan.ingress.status import IngressStatus
from linkspan.ingress.validate import Validator
from linkspan.kernel.codec import OutcomeCodec, RecordCodec
from linkspan.kernel.commands import KEY_KINDS, CommandCodec
from linkspan.kernel.config import read_settings
from linkspan.kernel.crypto.start import checked_blob_store
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.lifecycle import Check, address_of, bind, calm_collector, http_server, stop_event
from linkspan.kernel.resilience.limits import Limits
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_file import catalog_for, load_integration
from linkspan.kernel.telemetry.logs import configure_logs
from linkspan.kernel.telemetry.traces import Tracing
from linkspan.kernel.tls.plain import check_encrypted, listening
from linkspan.kernel.topics import sources_topic, status_topic
from linkspan.readmodel.asked import Ledger

log = structlog.get_logger()


class Ingress:
    """All parts of one replica."""

    def __init__(self, integration: Integration, catalog: SchemaCatalog, settings: IngressSettings) -> None:
        self._clients = client = _clients(settings, integration.integration)
        limit = settings.linkspan_max_body_bytes
        flows = flow_intakes(integration, catalog)
        self.tracing = Tracing.from_environment("ingress")
        self.spool = _spool(settings, integration)
        self.appender = Appender(
            client,
            flows,
            settings.linkspan_append_seconds,
            Preparing(settings, integration, catalog, client).run,
            self.spool,
            settings.linkspan_spool_grace_seconds,
        )
        self._standing = standing = Standing(RecordCodec(catalog, "Status"))
        self.watch = OutcomeWatch(client, flows, OutcomeCodec(catalog), status_topic(integration.integration), standing)
        self._flows = flows
        self._blobs = checked_blob_store(settings, integration, catalog)
        self._uses = KeyUses(client, integration.integration, catalog)
        known = settings.linkspan_data / "intake" / f"{integration.integration}.keys.json"
        self.door = Door(settings, self._uses.used, RememberedKeys(known))
        self._guard = Guard(Patience.of(settings))
        pipeline = self._pipeline(flows, catalog)
        self.leadership = self._leadership(integration, pipeline, flows, settings)
        self.has_sources = bool(integration.sources())
        self._stopping = False
        self._ledger = Ledger(settings.database(integration.integration))
        own: dict[str, Check] = {"messageQueue": self._kafka, "database": self._ledger.check}
        self.checks = system_checks(integration) | own
        self.http = partial(HotProtocol, Hot(pipeline, self.tracing, limit, self.door, self._guard))
        others = application(flows, catalog, self._ready, self.checks)
        self.app = Routes(self._routes(pipeline, limit), others, self.tracing, self.door)

    def _routes(self, pipeline: Pipeline, limit: int) -> dict[str, Route]:
        return {
            "/v1/messages": Messages(pipeline, self.watch, limit),
            "/v1/messages:batch": Batch(pipeline, limit, self.tracing),
        }

    def _pipeline(self, flows: list[FlowIntake], catalog: SchemaCatalog) -> Pipeline:
        replica = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        sealing = None if self._blobs.vault is None else Sealing(self._blobs.vault, catalog)
        return Pipeline(Validator(flows, catalog), self._blobs, self.appender, self.tracing, replica, sealing)

    def _leadership(
        self, integration: Integration, pipeline: Pipeline, flows: list[FlowIntake], settings: IngressSettings
    ) -> Leadership:
        return Leadership(
            self._clients,
            f"linkspan-{integration.integration}-sources",
            sources_topic(integration.integration),
            [self._source(name, integration, pipeline, flows, settings) for name in integration.sources()],
            settings.linkspan_session_seconds,
        )

    def _source(
        self,
        name: str,
        integration: Integration,
        pipeline: Pipeline,
        flows: list[FlowIntake],
        settings: IngressSettings,
    ) -> Poller | WebSocketSource:
        system, limit, kafka = integration.systems[name], settings.linkspan_max_body_bytes, self.appender.connected
        if system.poll is None:
            return WebSocketSource(name, system, pipeline, self.tracing, limit, kafka)
        cursor = Cursor(self._clients, sources_topic(integration.integration), name)
        by_type = {flow.spec.type: flow for flow in flows if flow.spec.from_ == name}
        feed = Feed(system, system.poll, limit, Limits.of(name, system))
        items = Items(name, system.poll, pipeline, by_type, self.tracing)
        return Poller(name, system.poll, feed, cursor, items, kafka)

    def plane(self, integration: Integration, catalog: SchemaCatalog) -> ControlPlane:
        """Raises UserMistake."""
        clients = self._clients
        tail = ControlTail(clients, integration.integration, CommandCodec(catalog))
        tail.watch(self._paused)
        tail.watch(self.door.watch)
        tail.listen(lambda _offset, command, _verdict: self.door.keep() if command.kind in KEY_KINDS else None)
        status = IngressStatus(self._flows, self.appender, lambda: self.spool.messages if self.spool else 0)
        control: ControlSettings = read_settings(ControlSettings)
        return ControlPlane(
            Host("ingress", integration, catalog, clients, self._blobs, self._ledger, self.checks, self.tracing),
            control,
            tail,
            status.say,
        )

    def _paused(self, state: ControlState) -> None:
        self._standing.pause(flow.name for flow in self._flows if state.paused(flow.name, flow.spec.to))

    async def _kafka(self) -> str | None:
        return self.appender.trouble

    async def _ready(self) -> str | None:
        return "stopping" if self._stopping else self.appender.trouble or self.door.trouble

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Kafka and the sources; what was taken is appended before it ends."""
        appending = asyncio.create_task(self.appender.run())
        spooling = [asyncio.create_task(self.spool.run())] if self.spool else []
        others = [asyncio.create_task(self._once_connected(run)) for run in (self.watch.run, self._uses.run)]
        others.append(asyncio.create_task(self._guard.run()))
        if self.has_sources:
            others.append(asyncio.create_task(self._once_connected(self.leadership.run)))
        try:
            yield
        finally:
            await _cancelled(*others)
            await self._uses.close()
            await self.appender.drained(20.0 if self.spool else 10.0)
            await _cancelled(appending)
            await self.appender.close()
            await _cancelled(*spooling)
            self.tracing.close()

    async def _once_connected(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await self.appender.connected.wait()
        await run()

    def stop(self) -> None:
        """Not ready from now on; whoever waits for an outcome is told that it is queued."""
        self._stopping = True
        self.watch.release()


def _clients(settings: IngressSettings, integration: str) -> KafkaClients:
    clients = KafkaClients(settings.kafka, settings.kafka_security, name="linkspan-ingress")
    clients.archive = settings.archive(integration)
    return clients


def _spool(settings: IngressSettings, integration: Integration) -> Spool | None:
    """Also where no flow spools any more, but something may be left. Raises UserMistake."""
    folder = settings.linkspan_data / "spool" / integration.integration
    if not folder.exists() and not any(flow.when_kafka_is_away == "spool" for flow in integration.flows.values()):
        return None
    return Spool(folder, integration.flows, settings.linkspan_spool_bytes, settings.linkspan_spool_reserve_bytes)


async def _both(first: asyncio.Event, second: asyncio.Event) -> None:
    await first.wait()
    await second.wait()


async def _cancelled(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def run(
    integration_file: Path,
    host: str,
    port: int,
    control_port: int,
    settings: IngressSettings,
    say_ready: Callable[[str, str], None],
) -> None:
    """Serves until SIGTERM or SIGINT; ``say_ready`` gets the address, and the control API's, once messages can be
    taken. Raises UserMistake."""
    integration = load_integration(integration_file, os.environ)
    check_encrypted(settings, integration)
    served = listening(settings)
    catalog = catalog_for(integration)
    ingress = Ingress(integration, catalog, settings)
    plane = ingress.plane(integration, catalog)
    stop = stop_event()
    listener = bind(host, port)
    address = address_of(listener, host, served)
    options = {"http": ingress.http, "ws": "none", "proxy_headers": False, "timeout_keep_alive": 75}
    topics = ingress.appender.connected
    async with (
        ingress.running(),
        http_server(ingress.app, listener, served, **options),
        plane.running(host, control_port, topics) as control,
    ):
        log.info("ingress listens", address=address, integration=integration.integration)
        connected = asyncio.create_task(_both(topics, plane.tail.caught_up))
        connected.add_done_callback(lambda task: None if task.cancelled() else say_ready(address, control))
        await stop.wait()
        log.info("ingress stops")
        connected.cancel()
        ingress.stop()


def ingress(
    file: Annotated[Path, typer.Argument(help="The integration file.")] = Path("integration.yaml"),
    host: Annotated[str | None, typer.Option(help="Where to listen; LINKSPAN_HOST, or 127.0.0.1.")] = None,
    port: Annotated[int, typer.Option(envvar="LINKSPAN_PORT", min=0, max=65535, help="0 chooses a free port.")] = 8080,
    control_port: Annotated[
        int, typer.Option(envvar="LINKSPAN_CONTROL_PORT", min=0, max=65535, help="Of the control API; 0 chooses.")
    ] = 50051,
) -> None:
    """Take messages in over HTTP and from the systems' own connections, and append them to Kafka.

    Prints `ready http://<host>:<port>` once messages can be taken, then `control <host>:<port>`.
    """
    settings = read_settings(IngressSettings)
    configure_logs("ingress", settings.log_level)
    if settings.log_level.lower() != "debug":
        # Without Kafka it writes some lines a second; what matters of them, the appender says once.
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    calm_collector()
    uvloop.run(run(file, host or settings.linkspan_host, port, control_port, settings, _told))


def _told(address: str, control: str) -> None:
    typer.echo(f"ready {address}\ncontrol {control}")
