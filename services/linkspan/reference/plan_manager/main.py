"""``linkspan plan-manager``: System A of the reference integration."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
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
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.lifecycle import add_operations, address_of, bind, http_server, stop_event
from linkspan.kernel.telemetry.logs import configure_logs
from linkspan.kernel.telemetry.traces import Tracing
from linkspan.kernel.tls.plain import check_addresses, listening
from linkspan.reference import problems
from linkspan.reference.credentials import development_default, sender_credential
from linkspan.reference.event_loop import run_until_stopped
from linkspan.reference.plan_manager import api, batch, inbox, oauth, pages
from linkspan.reference.plan_manager.oauth import Tokens
from linkspan.reference.plan_manager.tables import SCHEMA
from linkspan.reference.plan_manager.webhook import Webhook
from linkspan.reference.store import Store

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Settings:
    """``token_lifetime`` in seconds, ``max_upload_bytes`` a file."""

    host: str
    port: int
    data_dir: Path
    ingress_url: str
    client_id: str
    client_secret: str
    credential: Callable[[], Mapping[str, str]]
    token_lifetime: int = 3600
    max_upload_bytes: int = 64 * 1024 * 1024


async def run(settings: Settings, say_ready: Callable[[str], None]) -> None:
    """Serves until SIGTERM or SIGINT; ``say_ready`` gets the address once requests are answered."""
    stop = stop_event()
    served = listening(read_settings())
    listener = bind(settings.host, settings.port)
    tracing = Tracing.from_environment("plan-manager")
    async with _opened(settings, tracing) as app, http_server(app, listener, served):
        say_ready(address_of(listener, settings.host, served))
        await stop.wait()
    tracing.close()


@asynccontextmanager
async def _opened(settings: Settings, tracing: Tracing) -> AsyncIterator[FastAPI]:
    store = Store(settings.data_dir / "plan-manager.sqlite", SCHEMA)
    webhook = Webhook(store, settings.ingress_url, tracing, settings.credential)
    try:
        client = settings.client_id, settings.client_secret
        tokens = await Tokens.open(store, client, settings.token_lifetime)
        await webhook.start()
        app = _application(store, webhook)
        app.state.store, app.state.webhook, app.state.tokens, app.state.tracing = store, webhook, tokens, tracing
        app.state.max_upload_bytes = settings.max_upload_bytes
        yield app
    finally:
        await webhook.stop()
        await store.close()


def _application(store: Store, webhook: Webhook) -> FastAPI:
    app = FastAPIOffline(
        title="Plan manager", summary="System A of Linkspan's reference integration.", version=__version__
    )
    problems.install(app)
    for router in (oauth.router, api.router, inbox.router, batch.router, pages.router):
        app.include_router(router)

    async def ingress() -> str | None:
        return webhook.trouble

    add_operations(app, ready=_asks(store), checks={"store": _asks(store), "ingress": ingress})
    return app


def _asks(store: Store) -> Callable[[], Awaitable[str | None]]:
    async def ask() -> str | None:
        await store.read(lambda connection: connection.execute("SELECT 1").fetchone())
        return None

    return ask


def plan_manager(  # noqa: PLR0913, PLR0917 - the options of a command
    host: Annotated[str, typer.Option(envvar="LINKSPAN_HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(envvar="LINKSPAN_PORT", help="Port to listen on; 0 chooses one.", min=0, max=65535)
    ] = 8081,
    data_dir: Annotated[
        Path, typer.Option(envvar="SYSTEM_A_DATA_DIR", help="Where plans and results are kept.")
    ] = Path(".linkspan/plan-manager"),
    ingress_url: Annotated[
        str, typer.Option(envvar="LINKSPAN_INGRESS_URL", help="Linkspan's ingress, told of every upload.")
    ] = "http://127.0.0.1:8080",
    client_id: Annotated[str, typer.Option(envvar="SYSTEM_A_CLIENT_ID", help="OAuth2 client that may ask.")] = "",
    client_secret: Annotated[str, typer.Option(envvar="SYSTEM_A_CLIENT_SECRET", help="Its secret.")] = "",
    token_lifetime: Annotated[
        int, typer.Option(envvar="SYSTEM_A_TOKEN_LIFETIME", help="Seconds an access token is good for.", min=1)
    ] = 3600,
    max_upload_mib: Annotated[int, typer.Option(help="Largest file taken, in MiB.", min=1)] = 64,
    log_level: Annotated[str, typer.Option(envvar="LOG_LEVEL", help="debug, info, warning or error.")] = "info",
) -> None:
    """The plan manager: System A of the reference integration (REST, OAuth2).

    It sends to ingress with LINKSPAN_API_KEY or LINKSPAN_SENDER_TOKEN (a bearer token), or their files (…_FILE).
    """
    configure_logs("plan-manager", log_level)
    if not ingress_url.startswith(("http://", "https://")):
        raise UserMistake(f"--ingress-url {ingress_url} is not an address; write http://host:port")
    check_addresses(read_settings(), {"LINKSPAN_INGRESS_URL": ingress_url})
    settings = Settings(
        host=host,
        port=port,
        data_dir=data_dir,
        ingress_url=ingress_url,
        client_id=development_default("SYSTEM_A_CLIENT_ID", client_id, "linkspan"),
        client_secret=development_default("SYSTEM_A_CLIENT_SECRET", client_secret, "linkspan-development"),
        credential=sender_credential(os.environ),
        token_lifetime=token_lifetime,
        max_upload_bytes=max_upload_mib * 1024 * 1024,
    )
    run_until_stopped(run(settings, lambda address: typer.echo(f"ready {address}")))
