"""``linkspan analysis``: System B of the reference integration."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import structlog
import typer
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from linkspan import __version__
from linkspan.kernel.config import read_settings
from linkspan.kernel.lifecycle import add_operations, address_of, bind, http_server, stop_event
from linkspan.kernel.telemetry.logs import configure_logs
from linkspan.kernel.telemetry.traces import Tracing
from linkspan.kernel.tls.plain import listening
from linkspan.reference import problems
from linkspan.reference.analysis import api, sockets
from linkspan.reference.analysis.assumptions import Assumptions, packaged_assumptions, read_assumptions
from linkspan.reference.analysis.intake import Intake
from linkspan.reference.analysis.publish import Publisher
from linkspan.reference.analysis.tables import SCHEMA
from linkspan.reference.analysis.work import Worker
from linkspan.reference.credentials import development_default
from linkspan.reference.event_loop import run_until_stopped
from linkspan.reference.store import Store

log = structlog.get_logger()

#: Seconds between pings, and until a connection that does not answer one is closed.
PING = 30.0
LARGEST_FRAME = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """``queue_bound`` in items, ``resend_after`` in seconds."""

    host: str
    port: int
    data_dir: Path
    api_key: str
    assumptions: Assumptions
    queue_bound: int = 100_000
    resend_after: float = 30.0


async def run(settings: Settings, say_ready: Callable[[str], None]) -> None:
    """Serves until SIGTERM or SIGINT; ``say_ready`` gets the address once requests are answered."""
    stop = stop_event()
    served = listening(read_settings())
    listener = bind(settings.host, settings.port)
    tracing = Tracing.from_environment("analysis")
    socket = {"ws": "websockets-sansio", "ws_ping_interval": PING, "ws_ping_timeout": PING}
    limits = {"ws_max_size": LARGEST_FRAME, "ws_per_message_deflate": False}
    async with _opened(settings, tracing) as app, http_server(app, listener, served, **socket, **limits):
        say_ready(address_of(listener, settings.host, served))
        await stop.wait()
    tracing.close()


@asynccontextmanager
async def _opened(settings: Settings, tracing: Tracing) -> AsyncIterator[FastAPI]:
    store = Store(settings.data_dir / "analysis.sqlite", SCHEMA)
    publisher = Publisher(store, settings.resend_after)
    worker = Worker(store, settings.assumptions, tracing, publisher.add)
    tasks: list[asyncio.Task[None]] = []
    try:
        await publisher.open()
        await worker.open()
        tasks += [asyncio.create_task(worker.run()), asyncio.create_task(publisher.run())]
        app = _application(store, tasks)
        app.state.store, app.state.worker, app.state.publisher = store, worker, publisher
        app.state.intake = Intake(store, worker, settings.queue_bound)
        app.state.api_key = settings.api_key
        yield app
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store.close()


def _application(store: Store, tasks: list[asyncio.Task[None]]) -> FastAPI:
    app = FastAPIOffline(
        title="Analysis",
        summary="System B of Linkspan's reference integration.",
        description="Plans are submitted and analyses given by WebSocket: the protocol is described at [/](/).",
        version=__version__,
    )
    problems.install(app)
    for router in (sockets.router, api.router, api.pages):
        app.include_router(router)

    async def working() -> str | None:
        return "the worker has stopped" if any(task.done() for task in tasks) else None

    add_operations(app, ready=working, checks={"store": _asks(store), "worker": working})
    return app


def _asks(store: Store) -> Callable[[], Awaitable[str | None]]:
    async def ask() -> str | None:
        await store.read(lambda connection: connection.execute("SELECT 1").fetchone())
        return None

    return ask


def analysis(  # noqa: PLR0913, PLR0917 - the options of a command
    host: Annotated[str, typer.Option(envvar="LINKSPAN_HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(envvar="LINKSPAN_PORT", help="Port to listen on; 0 chooses one.", min=0, max=65535)
    ] = 8082,
    data_dir: Annotated[Path, typer.Option(envvar="SYSTEM_B_DATA_DIR", help="Where queue and events are kept.")] = Path(
        ".linkspan/analysis"
    ),
    api_key: Annotated[str, typer.Option(envvar="SYSTEM_B_API_KEY", help="Key that clients present.")] = "",
    assumptions: Annotated[
        Path | None, typer.Option(envvar="SYSTEM_B_ASSUMPTIONS", help="TOML of densities and heights to assume.")
    ] = None,
    queue_bound: Annotated[
        int, typer.Option(envvar="SYSTEM_B_QUEUE_BOUND", help="Items that may wait; above it: busy.", min=1)
    ] = 100_000,
    resend_after: Annotated[
        float, typer.Option(envvar="SYSTEM_B_RESEND_AFTER", help="Seconds until an event is sent again.", min=0.1)
    ] = 30.0,
    log_level: Annotated[str, typer.Option(envvar="LOG_LEVEL", help="debug, info, warning or error.")] = "info",
) -> None:
    """The plan analysis: System B of the reference integration (WebSocket, API key)."""
    configure_logs("analysis", log_level)
    settings = Settings(
        host=host,
        port=port,
        data_dir=data_dir,
        api_key=development_default("SYSTEM_B_API_KEY", api_key, "linkspan-development"),
        assumptions=read_assumptions(assumptions) if assumptions else packaged_assumptions(),
        queue_bound=queue_bound,
        resend_after=resend_after,
    )
    run_until_stopped(run(settings, lambda address: typer.echo(f"ready {address}")))
