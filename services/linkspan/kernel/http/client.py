"""GET from a rest system, as whoever we are to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from yarl import URL

from linkspan.kernel.errors import Doubtful, LinkspanError, RateLimited, Unavailable
from linkspan.kernel.http.answer import problem_of, retry_after_seconds, said
from linkspan.kernel.http.connector import QuietConnector
from linkspan.kernel.http.credentials import Credentials, credentials_for
from linkspan.kernel.secret import redacted
from linkspan.kernel.spec import System

_PART = 64 * 1024


class AnswerTooLong(LinkspanError):
    """More bytes than the caller wants to hold."""


@dataclass(frozen=True, slots=True)
class Got:
    """``body``: whole. ``reason``: status and what the answer says, for a person; empty for 2xx."""

    status: int
    body: bytes
    reason: str


class RestReader:
    """Connects at the first ``get``; ``close`` at the end."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._base = system.url.rstrip("/")
        self._limit = aiohttp.ClientTimeout(total=system.timeout)
        self._session: aiohttp.ClientSession | None = None
        self._credentials: Credentials

    async def get(
        self, path: str, largest: int, query: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Got:
        """``path`` is quoted already. Raises Unavailable unless the system answers this request: not reached,
        401, 403, a redirect, "later" (408, 425, 429, 503); Doubtful where it is too late, breaks off or is another 5xx;
        AnswerTooLong above ``largest`` bytes.
        """
        session = self._opened()
        url = URL(self._base + path, encoded=True)
        url = url.update_query(query) if query else url
        credentials = self._credentials.current() or await self._credentials.fetch()
        got, retry_after = await self._ask(session, url, {**(headers or {}), **credentials}, largest)
        if got.status == 401 and self._credentials.refused(credentials):
            credentials = await self._credentials.fetch()
            got, retry_after = await self._ask(session, url, {**(headers or {}), **credentials}, largest)
        _check_answered(got, retry_after)
        return got

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = QuietConnector()
            self._session = aiohttp.ClientSession(
                connector=connector,
                headers={"User-Agent": "linkspan", "Accept": "application/json"},
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            self._credentials = credentials_for(self._system, self._session)
        return self._session

    async def _ask(
        self, session: aiohttp.ClientSession, url: URL, headers: dict[str, str], largest: int
    ) -> tuple[Got, float | None]:
        try:
            async with session.get(url, headers=headers, timeout=self._limit, allow_redirects=False) as response:
                body = await _read(response, largest)
                reason = "" if response.status < 300 else said(problem_of(response.headers, body), body)
                got = Got(response.status, body, f"{response.status} {reason}".rstrip() if reason else "")
                return got, retry_after_seconds(response.headers.get("Retry-After"))
        except TimeoutError as error:
            raise Doubtful(f"{url.host}:{url.port} has not answered within {self._system.timeout:g} s") from error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, ConnectionResetError) as error:
            raise Doubtful(f"{url.host}:{url.port} broke the connection: {error or type(error).__name__}") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unavailable(
                f"no answer from {url.host}:{url.port}: {redacted(str(error)) or type(error).__name__}"
            ) from error

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()


async def _read(response: aiohttp.ClientResponse, largest: int) -> bytes:
    body = bytearray()
    async for part in response.content.iter_chunked(_PART):
        body += part
        if len(body) > largest:
            response.close()
            raise AnswerTooLong(f"the answer has more than {largest} bytes")
    return bytes(body)


def _check_answered(got: Got, retry_after: float | None) -> None:
    reason = got.reason or str(got.status)
    if got.status in (401, 403):
        raise Unavailable(f"our credentials are refused: {reason}")
    if 300 <= got.status < 400:
        raise Unavailable(f"it answers with a redirect, correct its url: {reason}")
    if got.status == 429:
        raise RateLimited(reason, retry_after=retry_after)
    if got.status >= 500 and got.status != 503:
        raise Doubtful(reason, retry_after=retry_after)
    if got.status in (408, 425, 503):
        raise Unavailable(reason, retry_after=retry_after)
