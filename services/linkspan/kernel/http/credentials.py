"""How we show a rest system who we are."""

from __future__ import annotations

from typing import Protocol

import aiohttp

from linkspan.kernel.http.oauth2 import TokenSource
from linkspan.kernel.spec import System


class Credentials(Protocol):
    def current(self) -> dict[str, str] | None:
        """Header fields for the next request; None where ``fetch`` must be awaited first."""

    async def fetch(self) -> dict[str, str]:
        """Raises Unavailable where there are none to be had."""

    def refused(self, headers: dict[str, str]) -> bool:
        """The destination answered 401 to these; True where other ones may help."""


class StaticCredentials:
    """An API key as it is said now, or nothing."""

    def __init__(self, system: System) -> None:
        self._system = system

    def current(self) -> dict[str, str]:
        return api_key_headers(self._system)

    async def fetch(self) -> dict[str, str]:
        return self.current()

    def refused(self, headers: dict[str, str]) -> bool:
        return headers != self.current()


class BearerCredentials:
    """A token by OAuth2 client credentials."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source

    def current(self) -> dict[str, str] | None:
        token = self._source.current()
        return _bearer(token) if token else None

    async def fetch(self) -> dict[str, str]:
        return _bearer(await self._source.token())

    def refused(self, headers: dict[str, str]) -> bool:
        self._source.refused(headers["Authorization"].removeprefix("Bearer "))
        return True


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def api_key_headers(system: System) -> dict[str, str]:
    key = system.auth.api_key if system.auth else None
    return {"X-API-Key": key.get_secret_value()} if key else {}


def credentials_for(system: System, session: aiohttp.ClientSession) -> Credentials:
    if system.auth and system.auth.oauth2:
        return BearerCredentials(TokenSource(session, system.auth.oauth2, system.url))
    return StaticCredentials(system)
