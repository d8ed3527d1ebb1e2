"""Sealed events: ``linkspan.Sealed``, the event with the ciphertext of its confidential values beside it.

What is authenticated with the ciphertext is everything else in the record: the data key's id, the places of the values,
and the event itself with its message id, its type and its plain fields. So a ciphertext fits no other message.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag

from linkspan.kernel.codec import PREFIX, Datum, Decoder, RecordCodec
from linkspan.kernel.crypto.keyring import NONCE_BYTES
from linkspan.kernel.crypto.pointers import put_back
from linkspan.kernel.crypto.vault import DataKey, Vault
from linkspan.kernel.crypto.withheld import Secrets
from linkspan.kernel.crypto.wrapper import KeyAway
from linkspan.kernel.errors import Poison, Undecryptable
from linkspan.kernel.schemas import SchemaCatalog

_pack, _unpack = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode
_ALTERED = "its confidential values cannot be decrypted: they were altered, or are another message's"
#: A message in its JSON form, and what of it must not be told, None where it has no confidential values.
Opened = tuple[Datum, Secrets | None]


class Sealer:
    """Writes ``linkspan.Sealed``."""

    def __init__(self, catalog: SchemaCatalog) -> None:
        self._codec = RecordCodec(catalog, "Sealed")

    def event(self, event: bytes, pointers: Sequence[str], content: bytes, key: DataKey) -> bytes:
        """``event``: with placeholders; ``content``: as ``packed`` gives it."""
        nonce = os.urandom(NONCE_BYTES)
        ciphertext = key.cipher.encrypt(nonce, content, _bound(key.id, pointers, event))
        return self._codec.encode(
            {"keyId": key.id, "nonce": nonce, "ciphertext": ciphertext, "pointers": pointers, "event": event}
        )

    def item(self, raw: bytes, key: DataKey) -> bytes:
        """Of what came in and is no message."""
        return self.event(b"", (), raw, key)


def packed(values: list[Any]) -> bytes:
    return _pack(values)


class Opener:
    """Reads the events of a flow, sealed or not. ``vault`` None: sealed ones wait for a keyring."""

    def __init__(self, decoder: Decoder, vault: Vault | None) -> None:
        self._decoder, self._vault = decoder, vault
        self._json, self._sealed = decoder.json, decoder.sealed_prefixes

    def now(self, value: bytes | None) -> Opened | None:
        """None where the data key is not in memory: then ``later``. Raises Poison, KeyAway."""
        if value is None or value[:PREFIX] not in self._sealed:
            return self._json(value), None
        sealed = self._record(value)
        if self._vault is None:
            raise KeyAway("it has confidential values, and this process has no keyring (LINKSPAN_KEYRING)")
        key = self._vault.opened(sealed["keyId"])
        return None if key is None else self._opened(sealed, key)

    async def later(self, value: bytes | None) -> Opened:
        """Raises Poison, KeyAway."""
        found = self.now(value)
        if found is not None:
            return found
        assert self._vault is not None  # noqa: S101 - ``now`` looked
        sealed = self._record(value)
        return self._opened(sealed, await self._vault.opening(sealed["keyId"]))

    def _record(self, value: bytes | None) -> Datum:
        sealed = self._decoder.sealed(value)
        assert sealed is not None  # noqa: S101 - it begins as one
        return sealed

    def hidden(self, value: bytes | None) -> Datum:
        """As everybody may see it. Raises Poison."""
        return self._decoder.json(value)

    def _opened(self, sealed: Datum, key: DataKey) -> Opened:
        pointers, event = sealed["pointers"], sealed["event"]
        try:
            content = key.cipher.decrypt(sealed["nonce"], sealed["ciphertext"], _bound(key.id, pointers, event))
        except (InvalidTag, ValueError):
            raise Undecryptable(_ALTERED) from None
        if not event:
            raise Poison("it is no message: what came in is kept encrypted")
        values = _unpack(content)
        return self._decoder.changed(event, lambda payload: put_back(payload, pointers, values)), Secrets(values)


def _bound(key_id: str, pointers: Sequence[str], event: bytes) -> bytes:
    parts = (b"linkspan.Sealed", key_id.encode(), "\n".join(pointers).encode(), event)
    return b"".join(len(part).to_bytes(4) + part for part in parts)
