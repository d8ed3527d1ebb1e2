"""``linkspan archive run``: as a process that goes on, or once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.applications import Starlette

from linkspan.archive.partition import Limits
from linkspan.archive.rounds import Round, Rounds, Upkeep
from linkspan.kernel.archive.store import ArchiveStore
from linkspan.kernel.config import Settings
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.lifecycle import add_operations, address_of, bind, http_server, stop_event
from linkspan.kernel.spec import Integration
from linkspan.kernel.tls.served import Served


def store_of(settings: Settings, integration: Integration) -> ArchiveStore:
    return ArchiveStore(settings.archive(integration.integration).url, integration.integration)


async def run_once(
    clients: KafkaClients, integration: Integration, store: ArchiveStore, limits: Limits, *, adopt: bool
) -> Round:
    """Up to the ends of now. Raises UserMistake, ArchiveAway, ArchiveDamaged, KafkaError."""
    rounds = Rounds(clients, integration, store, limits)
    await rounds.prepare(adopt=adopt)
    return await rounds.round(everything=True)


async def run_on(  # noqa: PLR0913 - what a process is started with
    clients: KafkaClients,
    integration: Integration,
    store: ArchiveStore,
    limits: Limits,
    *,
    every: float,
    adopt: bool,
    where: tuple[str, int],
    served: Served | None,
    ready: Callable[[str], None],
) -> None:
    """Until SIGTERM or SIGINT. Raises UserMistake; that Kafka or the archive is away is waited for."""
    stop = stop_event()
    listener = bind(*where)
    upkeep = Upkeep(Rounds(clients, integration, store, limits), every, adopt=adopt)
    app = Starlette()
    add_operations(app, ready=upkeep.ready, checks={"archive": upkeep.ready})
    async with http_server(app, listener, served):
        working, stopping = asyncio.create_task(upkeep.run()), asyncio.create_task(stop.wait())
        saying = asyncio.create_task(_say(upkeep, lambda: ready(address_of(listener, where[0], served))))
        try:
            done, _ = await asyncio.wait({stopping, working}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (stopping, saying, working):
                task.cancel()
            await asyncio.wait({stopping, saying, working})


async def _say(upkeep: Upkeep, ready: Callable[[], None]) -> None:
    await upkeep.begun.wait()
    ready()
