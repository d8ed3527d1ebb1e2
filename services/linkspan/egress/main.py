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

from linkspan.control.host import Host
from linkspan.control.plane import ControlPlane
from linkspan.control.settings import ControlSettings
from linkspan.control.tail import ControlTail
from linkspan.egress.flow import FlowService
from linkspan.egress.health import destination_check, logs_check, queue_check
from linkspan.egress.settings import EgressSettings
from linkspan.egress.status import EgressStatus
from linkspan.kernel.blobs import BlobStore
from linkspan.kernel.codec import Datum
from linkspan.kernel.commands import CommandCodec
from linkspan.kernel.config import read_settings
from linkspan.kernel.crypto.start import checked_blob_store
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.kafka.clients import KafkaClients, discarded
from linkspan.kernel.kafka.quiet import quieten_kafka_clients
from linkspan.kernel.kafka.timing import Timing
from linkspan.kernel.lifecycle import Check, add_operations, address_of, bind, calm_collector, http_server, stop_event
from linkspan.kernel.resilience.limits import limits_of
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_file import catalog_for, load_integration
from linkspan.kernel.telemetry.logs import configure_logs
from linkspan.kernel.telemetry.traces import Tracing
from linkspan.kernel.tls.plain import check_encrypted, listening
from linkspan.readmodel.asked import Ledger

log = structlog.get_logger()


async def run(
    integration_file: Path,
    host: str,
    port: int,
    control_port: int,
    settings: EgressSettings,
    flows: tuple[str, ...] = (),
    ready: Callable[[str, str], None] = lambda _address, _control: None,
) -> None:
    """Until SIGTERM or SIGINT. Raises UserMistake; that Kafka or a system is away is waited for.

    ``flows``: only these, by default all. ``ready`` is told both addresses once all are members of their groups.
    """
    stop = stop_event()
    integration = load_integration(integration_file, os.environ)
    check_encrypted(settings, integration)
    served = listening(settings)
    listener = bind(host, port)
    tracing = Tracing.from_environment("egress")
    clients = _clients(settings, integration)
    catalog = catalog_for(integration)
    tail = ControlTail(clients, integration.integration, CommandCodec(catalog))
    blobs = checked_blob_store(settings, integration, catalog)
    services = _services(integration, flows, settings, clients, tracing, tail, catalog, blobs)
    ledger = Ledger(settings.database(integration.integration))
    queue = queue_check([service.member for service in services], tail)
    checks = _checks(integration, services, queue) | {"database": ledger.check}
    kept = Host("egress", integration, catalog, clients, blobs, ledger, checks, tracing)
    plane = _plane(kept, tail, services)
    address = address_of(listener, host, served)
    async with http_server(_operations(queue, checks), listener, served), plane.running(host, control_port) as control:
        for service in services:
            await service.start()
        try:
            await _until(stop, services, lambda: ready(address, control))
        finally:
            await asyncio.gather(*(service.stop() for service in services))
            await discarded()
            tracing.close()


def _plane(host: Host, tail: ControlTail, services: list[FlowService]) -> ControlPlane:
    """Raises UserMistake."""
    settings: ControlSettings = read_settings(ControlSettings)
    plane = ControlPlane(host, settings, tail, EgressStatus(services, lambda: tail.applied).say)

    def others() -> list[Datum]:
        return [said for said in plane.view.newest() if said["replica"] != plane.teller.replica]

    for service in services:
        service.replays.others = others
    return plane


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


def _clients(settings: EgressSettings, integration: Integration) -> KafkaClients:
    timing = Timing(settings.linkspan_session_seconds, settings.linkspan_stall_seconds)
    made = KafkaClients(settings.kafka, settings.kafka_security, timing=timing)
    made.archive = settings.archive(integration.integration)
    return made


def _services(  # noqa: PLR0913, PLR0917 - what the flows of a process share
    integration: Integration,
    wanted: tuple[str, ...],
    settings: EgressSettings,
    clients: KafkaClients,
    tracing: Tracing,
    tail: ControlTail,
    catalog: SchemaCatalog,
    blobs: BlobStore,
) -> list[FlowService]:
    unknown = [name for name in wanted if name not in integration.flows]
    if unknown:
        raise UserMistake(f"--flow {unknown[0]}: there is no such flow; there are {', '.join(integration.flows)}")
    limits = limits_of(integration)
    return [
        FlowService(integration, name, catalog, clients, blobs, tracing, settings.batch_size, tail, limits)
        for name in wanted or tuple(integration.flows)
    ]


def _checks(integration: Integration, services: list[FlowService], queue: Check) -> dict[str, Check]:
    checks = {"messageQueue": logs_check(queue, [service.member for service in services])}
    for label, (name, system) in zip(("systemA", "systemB"), integration.systems.items(), strict=False):
        adapters = [service.adapter for service in services if integration.flows[service.name].to == name]
        checks[label] = destination_check(system, adapters)
    return checks


def _operations(ready: Check, checks: dict[str, Check]) -> Starlette:
    app = Starlette()
    add_operations(app, ready=ready, checks=checks)
    return app


def _run_until_stopped(main: Any) -> None:
    """On uvloop where the platform has it."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with suppress(ImportError):
        factory = importlib.import_module("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


def _told(address: str, control: str) -> None:
    typer.echo(f"ready {address}\ncontrol {control}")


def egress(
    file: Annotated[Path, typer.Argument(help="The integration file.")] = Path("integration.yaml"),
    host: Annotated[str | None, typer.Option(help="Address of the operations endpoints.")] = None,
    port: Annotated[
        int, typer.Option(envvar="LINKSPAN_PORT", help="Their port; 0 chooses one.", min=0, max=65535)
    ] = 8083,
    control_port: Annotated[
        int, typer.Option(envvar="LINKSPAN_CONTROL_PORT", help="Of the control API; 0 chooses.", min=0, max=65535)
    ] = 50052,
    flow: Annotated[list[str] | None, typer.Option(help="Deliver only this flow; may be repeated.")] = None,
) -> None:
    """Delivers events to their destinations and records the outcome of each.

    Prints `ready http://<host>:<port>` once it is a member of all groups, then `control <host>:<port>`.
    """
    settings: EgressSettings = read_settings(EgressSettings)
    configure_logs("egress", settings.log_level)
    quieten_kafka_clients()
    calm_collector()
    where = host or settings.linkspan_host
    _run_until_stopped(run(file, where, port, control_port, settings, tuple(flow or ()), _told))
