"""``linkspan egress``: delivers the events of an integration and records what became of each."""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
from starlette.applications import Starlette

from linkspan.egress.flow import FlowService
from linkspan.egress.health import destination_check, queue_check
from linkspan.egress.settings import EgressSettings
from linkspan.egress.status import StatusReporter
from linkspan.kernel.blobs import BlobStore
from linkspan.kernel.codec import RecordCodec
from linkspan.kernel.config import read_settings
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.kafka.clients import KafkaClients, discarded
from linkspan.kernel.kafka.quiet import quieten_kafka_clients
from linkspan.kernel.kafka.timing import Timing
from linkspan.kernel.lifecycle import add_operations, bind, calm_collector, http_server, stop_event
from linkspan.kernel.resilience.limits import limits_of
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_file import catalog_for, check_production, load_integration
from linkspan.kernel.telemetry.logs import configure_logs
from linkspan.kernel.telemetry.traces import Tracing
from linkspan.kernel.topics import status_topic

log = structlog.get_logger()


async def run(
    integration_file: Path,
    host: str,
    port: int,
    settings: EgressSettings,
    flows: tuple[str, ...] = (),
    ready: Callable[[str], None] = lambda _address: None,
) -> None:
    """Until SIGTERM or SIGINT. Raises UserMistake; that Kafka or a system is away is waited for.

    ``flows``: only these, by default all. ``ready`` is told the address when all of them are members of their groups.
    """
    stop = stop_event()
    integration = load_integration(integration_file, os.environ)
    check_production(settings, integration)
    listener = bind(host, port)
    tracing = Tracing.from_environment("egress")
    clients = _clients(settings)
    services = _services(integration, flows, settings, clients, tracing)
    address = f"http://{host}:{listener.getsockname()[1]}"
    async with http_server(_operations(integration, services), listener):
        for service in services:
            await service.start()
        reporter = _reporter(integration, clients, services)
        reporting = asyncio.create_task(reporter.run())
        try:
            await _until(stop, services, lambda: ready(address))
        finally:
            reporting.cancel()
            await asyncio.gather(*(service.stop() for service in services), reporter.close())
            await discarded()
            tracing.close()


async def _until(stop: asyncio.Event, services: list[FlowService], joined: Callable[[], None]) -> None:
    """Until ``stop``, or a flow's task ends, which is a fault: its error is raised."""
    watch = [asyncio.create_task(service.died()) for service in services]
    stopping = asyncio.create_task(stop.wait())
    joining = asyncio.create_task(_all_joined(services, joined))
    try:
        done, _ = await asyncio.wait({stopping, *watch}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (stopping, joining, *watch):
            task.cancel()


async def _all_joined(services: list[FlowService], joined: Callable[[], None]) -> None:
    for service in services:
        await service.member.joined.wait()
    log.info("delivering", flows=[service.name for service in services])
    joined()


def _clients(settings: EgressSettings) -> KafkaClients:
    tls = settings.message_queue_url.startswith("kafka+ssl://")
    timing = Timing(settings.linkspan_session_seconds, settings.linkspan_stall_seconds)
    return KafkaClients(settings.kafka, tls=tls, timing=timing)


def _reporter(integration: Integration, clients: KafkaClients, services: list[FlowService]) -> StatusReporter:
    codec = RecordCodec(catalog_for(integration), "Status")
    return StatusReporter(clients, status_topic(integration.integration), codec, services)


def _services(
    integration: Integration,
    wanted: tuple[str, ...],
    settings: EgressSettings,
    clients: KafkaClients,
    tracing: Tracing,
) -> list[FlowService]:
    unknown = [name for name in wanted if name not in integration.flows]
    if unknown:
        raise UserMistake(f"--flow {unknown[0]}: there is no such flow; there are {', '.join(integration.flows)}")
    catalog = catalog_for(integration)
    blobs, limits = BlobStore(settings.blobs), limits_of(integration)
    return [
        FlowService(integration, name, catalog, clients, blobs, tracing, settings.batch_size, limits)
        for name in wanted or tuple(integration.flows)
    ]


def _operations(integration: Integration, services: list[FlowService]) -> Starlette:
    app = Starlette()
    queue = queue_check([service.member for service in services])
    checks = {"messageQueue": queue}
    for label, (name, system) in zip(("systemA", "systemB"), integration.systems.items(), strict=False):
        adapters = [service.adapter for service in services if integration.flows[service.name].to == name]
        checks[label] = destination_check(system, adapters)
    add_operations(app, ready=queue, checks=checks)
    return app


def _run_until_stopped(main: Any) -> None:
    """On uvloop where the platform has it."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with suppress(ImportError):
        factory = importlib.import_module("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


def egress(
    file: Annotated[Path, typer.Argument(help="The integration file.")] = Path("integration.yaml"),
    host: Annotated[str | None, typer.Option(help="Address of the operations endpoints.")] = None,
    port: Annotated[int, typer.Option(help="Their port; 0 chooses one.", min=0, max=65535)] = 8083,
    flow: Annotated[list[str] | None, typer.Option(help="Deliver only this flow; may be repeated.")] = None,
) -> None:
    """Delivers events to their destinations and records the outcome of each."""
    settings: EgressSettings = read_settings(EgressSettings)
    configure_logs("egress", settings.log_level)
    quieten_kafka_clients()
    calm_collector()
    told = lambda address: typer.echo(f"ready {address}")  # noqa: E731
    _run_until_stopped(run(file, host or settings.linkspan_host, port, settings, tuple(flow or ()), told))
