"""OAuth 2.0 client credentials (RFC 6749, 4.4): one token for all requests, renewed before it expires."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable
from typing import Annotated
from urllib.parse import quote_plus, urljoin

import aiohttp
import msgspec

from linkspan.kernel.errors import Unavailable
from linkspan.kernel.http.bounded import read_bounded
from linkspan.kernel.secret import redacted, remember, remember_token
from linkspan.kernel.spec import OAuth2

#: A token without ``expires_in`` is used this long, seconds.
_LIFETIME = 300.0
#: A token is renewed after this share of its lifetime, or this many seconds before its end, whichever is later.
_SHARE, _BEFORE = 0.8, 30.0
#: After a failure nobody asks again for this long, seconds.
_QUIET = 1.0
_LIMIT = aiohttp.ClientTimeout(total=10)


class _Token(msgspec.Struct):
    access_token: Annotated[str, msgspec.Meta(min_length=1)]
    expires_in: float | None = None


class TokenSource:
    """``url`` is the system's, for a relative ``token_url``. The secret appears in no error and no log."""

    def __init__(
        self, session: aiohttp.ClientSession, grant: OAuth2, url: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._session = session
        self._url = urljoin(url.rstrip("/") + "/", grant.token_url)
        self._grant = grant
        self._form = {"grant_type": "client_credentials"} | ({"scope": grant.scope} if grant.scope else {})
        self._clock = clock
        self._renewing: asyncio.Task[str] | None = None
        self._token: str | None = None
        self._renew_at = self._expires_at = 0.0
        self._failed: tuple[float, Unavailable] | None = None

    def _headers(self) -> dict[str, str]:
        """With the secret of now."""
        pair = (quote_plus(self._grant.client_id), quote_plus(self._grant.client_secret.get_secret_value()))
        basic = remember(base64.b64encode(":".join(pair).encode()).decode())
        return {"Authorization": f"Basic {basic}", "Accept": "application/json"}

    def current(self) -> str | None:
        """The token, unless it is time to renew it."""
        return self._token if self._clock() < self._renew_at else None

    def refused(self, token: str) -> None:
        """The destination did not take ``token``: the next caller asks for another."""
        if token == self._token:
            self._token, self._renew_at, self._expires_at = None, 0.0, 0.0

    async def token(self) -> str:
        """Raises Unavailable. Callers at the same time share one request, which goes on when one of them gives up; a
        token is used on until it expires."""
        found = self.current()
        if found:
            return found
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew())
            self._renewing.add_done_callback(self._renewed)
        try:
            return await asyncio.shield(self._renewing)
        except Unavailable:
            if self._token and self._clock() < self._expires_at:
                return self._token
            raise

    def _renewed(self, task: asyncio.Task[str]) -> None:
        self._renewing = None
        if not task.cancelled():
            task.exception()  # its callers raise it; there may be none any more

    async def _renew(self) -> str:
        if self._failed and self._clock() < self._failed[0]:
            raise self._failed[1]
        try:
            found = await self._ask()
        except Unavailable as error:
            self._failed = (self._clock() + _QUIET, error)
            raise
        lifetime = found.expires_in or _LIFETIME
        now = self._clock()
        self._token, self._failed = remember_token(found.access_token), None
        self._renew_at = now + max(lifetime * _SHARE, lifetime - _BEFORE)
        self._expires_at = now + lifetime
        return found.access_token

    async def _ask(self) -> _Token:
        try:
            async with self._session.post(
                self._url, data=self._form, headers=self._headers(), timeout=_LIMIT, allow_redirects=False
            ) as response:
                body = await read_bounded(response)
                status = response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"no token: {self._url} does not answer ({type(error).__name__})") from error
        if status != 200:
            raise Unavailable(f"no token: {self._url} answered {status} {_error_code(body)}".rstrip())
        try:
            return msgspec.json.decode(body, type=_Token)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unavailable(f"no token: {self._url} answered 200 without a usable access_token") from error


def _error_code(body: bytes) -> str:
    """``error`` and its description (RFC 6749, 5.2)."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    parts = (found.get("error"), found.get("error_description")) if isinstance(found, dict) else ()
    return ": ".join(redacted(str(part))[:200] for part in parts if part)
