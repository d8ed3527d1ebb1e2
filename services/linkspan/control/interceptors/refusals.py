"""Calls that were not allowed leave a trace: in the log, in a metric, and those of known callers in the audit trail."""

from __future__ import annotations

import asyncio

import structlog

from linkspan.control.commands import Commands
from linkspan.control.errors import Away
from linkspan.control.identity import Identity
from linkspan.control.roles import Permission
from linkspan.kernel.commands import REFUSED, Command
from linkspan.kernel.telemetry import metrics

log = structlog.get_logger()

#: One record in so many seconds for each identity and method: refusals must not fill the topic.
_EVERY = 60.0
_MOST = 1_000


class Refusals:
    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._recorded: dict[tuple[str, str], float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def unknown(self, method: str, reason: str, peer: str) -> None:
        metrics.CONTROL_REFUSED.labels(method, reason).inc()
        log.warning("control call of somebody unknown", method=method, reason=reason, peer=peer)

    def forbidden(self, method: str, identity: Identity, permission: Permission | None) -> None:
        metrics.CONTROL_REFUSED.labels(method, "FORBIDDEN").inc()
        facts = {"by": identity.name, "role": identity.role, "permission": permission}
        log.warning("control call forbidden", method=method, **facts)
        if self._is_due(identity.name, method):
            reason = f"role {identity.role} lacks {permission or 'any permission for it'}"
            command = Command(REFUSED, by=identity.name, role=identity.role, value=method, reason=reason)
            task = asyncio.create_task(self._record(command))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _is_due(self, name: str, method: str) -> bool:
        now = asyncio.get_running_loop().time()
        self._recorded = {one: at for one, at in self._recorded.items() if now - at < _EVERY}
        if (name, method) in self._recorded or len(self._recorded) >= _MOST:
            return False
        self._recorded[name, method] = now
        return True

    async def _record(self, command: Command) -> None:
        try:
            await self._commands.give([command])
        except Away as error:
            log.warning("a refusal could not be recorded", method=command.value, reason=str(error))
