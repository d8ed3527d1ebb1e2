"""The public keys of whoever signs JWTs: from a file, or from an address that is asked again now and then."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from pathlib import Path

import aiohttp
import msgspec
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from linkspan.control.errors import Away
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.tls.trusted import client_context
from linkspan.kernel.watched import Watched

log = structlog.get_logger()

#: Asked again after so long; for a key that is not known yet at once, but not more often; after a failure. Seconds.
_KEEP, _AT_MOST, _AFTER_FAILURE = 300.0, 30.0, 5.0
_LIMIT = 5.0
_BYTES = 1024 * 1024


def _parse(text: str | bytes) -> KeySet:
    try:
        keys: KeySet = KeySet.import_key_set(msgspec.json.decode(text))
    except (msgspec.DecodeError, JoseError, KeyError, TypeError, ValueError) as error:
        raise UserMistake(f"it is no JSON Web Key Set: {error}") from error
    return keys


class KeyFile:
    def __init__(self, path: Path) -> None:
        self._file = Watched(path, _parse)

    async def keys(self, *, newer: bool = False) -> KeySet:  # noqa: ARG002 - a file is looked at every time
        return self._file.content


class KeyAddress:
    """Keys once read stay in force while the address does not answer; who has a known key never waits for it."""

    def __init__(
        self, url: str, *, keep: float = _KEEP, at_most: float = _AT_MOST, after_failure: float = _AFTER_FAILURE
    ) -> None:
        self._url, self._keep, self._at_most, self._after_failure = url, keep, at_most, after_failure
        self._keys: KeySet | None = None
        self._asked, self._asked_for_newer, self._failed = float("-inf"), float("-inf"), False
        self._asking: asyncio.Task[None] | None = None

    async def keys(self, *, newer: bool = False) -> KeySet:
        """``newer``: a key is not among them. Raises Away where none were ever read."""
        if self._asking is None and self._due(newer=newer):
            self._asking = asyncio.create_task(self._ask())
        if self._asking is not None and (newer or self._keys is None):
            await asyncio.shield(self._asking)  # whoever asked first may give up: the others still get the keys
        if self._keys is None:
            raise Away("JWKS_AWAY", f"the keys at {self._url} cannot be read now")
        return self._keys

    def _due(self, *, newer: bool) -> bool:
        now = time.monotonic()
        if newer and self._keys is not None:
            due = now - self._asked_for_newer > self._at_most
            self._asked_for_newer = now if due else self._asked_for_newer
            return due
        if self._keys is None:
            return now - self._asked > self._after_failure
        return now - self._asked > (self._at_most if self._failed else self._keep)

    async def _ask(self) -> None:
        self._asked = time.monotonic()
        try:
            self._keys = _parse(await _got(self._url))
            self._failed = False
        except (aiohttp.ClientError, OSError, TimeoutError, UserMistake) as error:
            self._failed = True
            log.warning("the keys for JWTs cannot be read", url=self._url, error=repr(error))
        finally:
            self._asking = None


async def _got(url: str) -> bytes:
    """Whole. From there alone: what it refers to may be plain text. Raises as aiohttp, UserMistake."""
    timeout = aiohttp.ClientTimeout(total=_LIMIT)
    async with (
        aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(ssl=client_context())) as session,
        session.get(url, allow_redirects=False) as answer,
    ):
        if answer.status != HTTPStatus.OK:
            raise UserMistake(f"it answered {answer.status} {answer.reason}")
        found = bytearray()
        async for part in answer.content.iter_any():
            found += part
            if len(found) > _BYTES:
                raise UserMistake(f"it has more than {_BYTES} bytes")
    return bytes(found)
