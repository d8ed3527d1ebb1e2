"""The public keys of whoever signs JWTs: from a file, or from an address that is asked again now and then."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import aiohttp
import msgspec
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from linkspan.control.auth.watched import Watched
from linkspan.control.errors import Away
from linkspan.kernel.errors import UserMistake

log = structlog.get_logger()

#: Asked again after so long; and at once, but not more often, for a key that is not known yet. Seconds.
_KEEP, _AT_MOST = 300.0, 30.0
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
    """Keys once read stay in force while the address does not answer."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: KeySet | None = None
        self._asked = float("-inf")
        self._one = asyncio.Lock()

    async def keys(self, *, newer: bool = False) -> KeySet:
        """``newer``: a key is not among them. Raises Away where none were ever read."""
        async with self._one:
            if time.monotonic() - self._asked > (_AT_MOST if newer or self._keys is None else _KEEP):
                self._asked = time.monotonic()
                await self._ask()
        if self._keys is None:
            raise Away("JWKS_AWAY", f"the keys at {self._url} cannot be read now")
        return self._keys

    async def _ask(self) -> None:
        try:
            timeout = aiohttp.ClientTimeout(total=_LIMIT)
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(self._url) as answer:
                answer.raise_for_status()
                self._keys = _parse(await answer.content.read(_BYTES))
        except (aiohttp.ClientError, OSError, TimeoutError, UserMistake) as error:
            log.warning("the keys for JWTs cannot be read", url=self._url, error=repr(error))
