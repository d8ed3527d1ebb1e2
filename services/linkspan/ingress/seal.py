"""Between encoding and appending: confidential values, and what came in and is no message, are encrypted."""

from __future__ import annotations

from typing import Any

import structlog
from obstore.exceptions import BaseError

from linkspan.ingress.errors import NotNow
from linkspan.ingress.validate import Message, encode
from linkspan.kernel.codec import Encoded
from linkspan.kernel.crypto.sealed import Sealer, packed
from linkspan.kernel.crypto.vault import DataKey, Vault
from linkspan.kernel.crypto.wrapper import KeyAway
from linkspan.kernel.schemas import SchemaCatalog

log = structlog.get_logger()

#: Of a digest in a record header, bytes.
_DIGEST = 8


class Sealing:
    """Of one process. What it seals has a keyed digest: the plain one of a short value could be guessed."""

    def __init__(self, vault: Vault, catalog: SchemaCatalog) -> None:
        self._vault, self._sealer = vault, Sealer(catalog)

    def at_hand(self, message: Message) -> bool:
        """``event`` can be asked now."""
        return self._vault.at_hand(message.key) is not None

    async def ready(self, key: str) -> DataKey:
        """Raises NotNow where there is no data key to be had."""
        try:
            return await self._vault.sealing(key)
        except (KeyAway, BaseError, OSError) as error:
            log.warning("no data key", reason=str(error))
            raise NotNow("the message cannot be encrypted now", retry_after=5) from error

    def event(self, message: Message) -> Encoded:
        """The event, sealed where it has confidential values, which are gone from ``message`` then."""
        pointers: list[str] = []
        values: list[Any] = []
        if message.flow.confidential is not None:
            message.flow.confidential(message.payload, "", pointers, values)
        event = encode(message)
        if not pointers:
            return event
        key = self._vault.at_hand(message.key)
        if key is None:
            raise NotNow("the message cannot be encrypted now", retry_after=1)
        content = packed(values)
        digest = self._vault.digest(event.digest, content, size=_DIGEST)
        return Encoded(self._sealer.event(event.value, pointers, content, key), digest)

    async def item(self, raw: bytes, key: str) -> Encoded:
        """Raises NotNow."""
        data_key = await self.ready(key)
        return Encoded(self._sealer.item(raw, data_key), self._vault.digest(b"item", raw, size=_DIGEST))
