"""The control plane of a process: what is in force, how it stands, and the API."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from linkspan.control.actions import Actions
from linkspan.control.auth.authenticator import Authenticator
from linkspan.control.commands import Commands
from linkspan.control.flush import Flush
from linkspan.control.fold import ControlState
from linkspan.control.host import Host
from linkspan.control.interceptors.calls import Calls
from linkspan.control.interceptors.guard import Guard
from linkspan.control.interceptors.refusals import Refusals
from linkspan.control.profile import ProfileView
from linkspan.control.replaying.known import KnownReplays
from linkspan.control.replaying.progress import ProgressView
from linkspan.control.replaying.replaying import Replaying
from linkspan.control.server import ControlServer
from linkspan.control.servicer import Servicer, Views
from linkspan.control.settings import ControlSettings
from linkspan.control.status import Status
from linkspan.control.status_teller import StatusTeller
from linkspan.control.status_view import StatusView
from linkspan.control.tail import ControlTail
from linkspan.control.trail import Trail
from linkspan.control.views.audit import Audits
from linkspan.control.views.commands import CommandsView
from linkspan.control.views.keys import KeysView
from linkspan.control.views.letters import Letters
from linkspan.control.views.messages import Messages
from linkspan.control.views.plans import Plans
from linkspan.control.views.replays import Replays
from linkspan.control.views.scope import Scope
from linkspan.control.views.tail import Tail
from linkspan.kernel.codec import Datum
from linkspan.kernel.commands import CommandCodec
from linkspan.kernel.telemetry.logs import set_level
from linkspan.kernel.telemetry.profiling import PROFILE
from linkspan.replay.process import Planners
from linkspan.transform import Transform

log = structlog.get_logger()


class ControlPlane:
    """``say``: what the service knows of itself, for its status. Raises UserMistake where the API cannot be served.

    ``tail`` is there at once, for whoever has to obey.
    """

    def __init__(self, host: Host, settings: ControlSettings, tail: ControlTail, say: Callable[[], Datum]) -> None:
        self._host, self._settings, self.tail = host, settings, tail
        codec = CommandCodec(host.catalog)
        self.view = StatusView(host.clients, host.integration.integration, host.catalog)
        self.teller = StatusTeller(host, tail, say)
        self.commands = Commands(host.clients, tail, codec)
        self._trail = Trail(host.clients, tail)
        self._transforms: dict[str, Transform] = {}
        self._known = KnownReplays(tail)
        self._progress = ProgressView(self.view.newest, self.view.replicas, time.monotonic)
        self._planners = Planners(host.clients, host.integration, host.catalog, host.blobs)
        self._authenticator = Authenticator.of(settings)
        tail.watch(_obey)

    def _views(self) -> Views:
        host = self._host
        scope = Scope(host.integration, host.catalog, host.clients)
        return Views(
            Messages(scope, host.ledger),
            Letters(scope, self._transform, self.commands),
            Tail(scope),
            Audits(scope),
            Plans(host.integration, host.catalog, self.commands, self.tail, self._planners, self.view.delivered),
            Replays(host, self._known, self._progress),
            KeysView(host, self.commands, self.tail),
        )

    def _transform(self, flow: str) -> Transform:
        """For what a dead letter would become today; raises UserMistake."""
        if flow not in self._transforms:
            host = self._host
            self._transforms[flow] = Transform(host.integration, flow, host.catalog, host.blobs)
        return self._transforms[flow]

    def _servicer(self) -> Servicer:
        known, progress = self._known, self._progress
        return Servicer(
            Status(self._host, self.tail, self.view),
            Actions(self._host.integration, self.commands),
            Flush(self._host, self.commands),
            ProfileView(PROFILE),
            CommandsView(self._trail),
            Replaying(self._host, self.commands, known, progress, self._planners),
            self._views(),
        )

    def _runs(self) -> tuple[Callable[[], object], ...]:
        return self.tail.run, self.tail.schemas.run, self.view.run, self.teller.run

    @asynccontextmanager
    async def running(self, host: str, port: int, topics: asyncio.Event | None = None) -> AsyncIterator[str]:
        """Serves until the block ends; its address. ``topics``: set once they exist, where they may not yet."""
        around = [Calls(), Guard(self._authenticator, Refusals(self.commands))]
        server = ControlServer(self._servicer(), around, self._settings)
        self.teller.address = address = await server.start(host, port)
        log.info("control API", address=address)
        tasks = [asyncio.create_task(_after(topics, run)) for run in self._runs()]
        try:
            yield address
        finally:
            await server.stop()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=10)
            closing = (one.close() for one in self._transforms.values())
            await asyncio.gather(self.commands.close(), self.teller.close(), *closing)


async def _after(event: asyncio.Event | None, run: Callable[[], object]) -> None:
    if event is not None:
        await event.wait()
    await run()  # type: ignore[misc]


def _obey(state: ControlState) -> None:
    """What is the same in every process."""
    if state.log_level:
        set_level(state.log_level)
    wanted = state.profiling
    if (wanted.rate, wanted.detailed) != (PROFILE.rate, PROFILE.detailed):
        PROFILE.measure(wanted.rate, detailed=wanted.detailed)


def quieten_grpc() -> None:
    """Its own lines say nothing that a call's status does not."""
    logging.getLogger("grpc").setLevel(logging.CRITICAL)
