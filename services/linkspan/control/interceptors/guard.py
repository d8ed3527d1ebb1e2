"""Nobody gets further without being known and allowed to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from linkspan.control.auth.authenticator import Authenticator
from linkspan.control.errors import Forbidden, NotKnown
from linkspan.control.identity import Identity, called_by
from linkspan.control.interceptors.around import Around
from linkspan.control.interceptors.refusals import Refusals
from linkspan.control.roles import METHODS, ROLES, Permission

SERVICE = "/linkspan.control.v1.ControlService/"
#: Whether a process lives, and what its API looks like, is no secret.
_OPEN = ("/grpc.health.v1.Health/", "/grpc.reflection.")


class Guard(Around):
    def __init__(self, authenticator: Authenticator, refusals: Refusals) -> None:
        self._authenticator, self._refusals = authenticator, refusals

    @asynccontextmanager
    async def around(self, method: str, context: Any) -> AsyncIterator[None]:
        if not method.startswith(_OPEN):
            called_by(await self._allowed(method.removeprefix(SERVICE), context))
        yield

    async def _allowed(self, method: str, context: Any) -> Identity:
        """Raises NotKnown, Forbidden, Away."""
        metadata = {name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)}
        try:
            identity = await self._authenticator.identify(metadata, context.auth_context())
        except NotKnown as error:
            self._refusals.unknown(method, error.reason, context.peer())
            raise
        permission = METHODS.get(method)
        if permission is None or permission not in ROLES[identity.role]:
            self._refusals.forbidden(method, identity, permission)
            raise _forbidden(method, identity, permission)
        return identity


def _forbidden(method: str, identity: Identity, permission: Permission | None) -> Forbidden:
    needed = permission or "nobody's permission"
    text = f"{identity.name} is {identity.role}, and {method} needs {needed}"
    return Forbidden(text, identity.role, str(permission or ""))
