"""Claim check: large content lives in a blob store, the event carries its reference.

A reference is the JSON form of ``linkspan.BlobReference``:
``{"address": str, "digest": 64 hex digits, "size": bytes, "mediaType": str | None}``.

Without a keyring the digest is the content's SHA-256, and the address its path inside the store, so equal content is
stored once. With one the content is sealed with the key of the entity that it belongs to. The digest is a keyed one,
the address made of it and the entity: neither changes with a rotation, so a message sent again is the same message. A
sealed blob says itself what it is: ``MAGIC``, the length of the data key's id in a byte, that id, a nonce, ciphertext.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag

from linkspan.kernel.crypto.keyring import NONCE_BYTES
from linkspan.kernel.crypto.vault import DataKey, Vault
from linkspan.kernel.errors import LinkspanError, Unavailable
from linkspan.kernel.objects import Away, Objects

#: Content above this many bytes leaves the event (issue: "content over 256 KiB").
CLAIM_CHECK_BYTES = 256 * 1024
MAGIC = b"\xc3LINKSPAN SEALED 1\n"

#: What can be an address of ours: never absolute, never another scheme's, and it cannot climb out of the store.
_ADDRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(?:/[A-Za-z0-9][A-Za-z0-9_-]*)*\Z")

Reference = dict[str, Any]


class BlobMissing(LinkspanError):
    """The store has no such blob, or its content is not what the digest says."""


class BlobsAway(LinkspanError):
    """The store's disk is not mounted any more."""


class BlobStore:
    """Content by digest. ``vault``: seals it; without one it is stored as it is, and sealed content is not read.
    ``keyring``: path of the file that the vault is of, for a process that is started."""

    def __init__(self, url: str, vault: Vault | None = None, keyring: Path | None = None) -> None:
        self.url, self.vault, self.keyring = url, vault, keyring
        self._objects = Objects(url)

    def see(self) -> None:
        """That its disk is still mounted, as a process that opens it anew cannot know. Raises BlobsAway."""
        try:
            self._objects.see()
        except OSError as error:
            raise BlobsAway(str(error)) from error

    async def put(self, content: bytes, media_type: str | None = None, *, key: str = "") -> Reference:
        """``key``: of the entity that it belongs to. Raises KeyAway, BaseError or OSError where it cannot be kept."""
        if self.vault is not None:
            return await self._seal(self.vault, content, media_type, key)
        digest = hashlib.sha256(content).hexdigest()
        address = _path(digest)
        await self._objects.put(address, content)
        return _reference(address, digest, content, media_type)

    async def _seal(self, vault: Vault, content: bytes, media_type: str | None, key: str) -> Reference:
        digest = await asyncio.to_thread(vault.digest, b"content", content)
        address = _path(vault.digest(b"address", vault.entity(key).encode(), digest).hex())
        data_key = await vault.sealing(key)
        while True:
            await self._objects.put(address, await asyncio.to_thread(_sealed, data_key, address, content))
            used, data_key = data_key, await vault.sealing(key)
            if used.id == data_key.id:  # else it was retired meanwhile, and may be shredded
                return _reference(address, digest.hex(), content, media_type)

    async def get(self, reference: Reference) -> bytes:
        """The content. Raises BlobMissing where it is gone or was altered, Undecryptable where its key is gone,
        Unavailable where store or key cannot be had now."""
        address = reference["address"]
        if not isinstance(address, str) or not _ADDRESS.match(address):
            raise BlobMissing("the reference's address is none of a blob store of ours")
        try:
            stored = await self._objects.get(address)
        except FileNotFoundError as error:
            raise BlobMissing(f"blob {address} is not in the store") from error
        except Away as error:
            raise Unavailable(f"blob {address} cannot be read: {error}") from error
        if hashlib.sha256(stored).hexdigest() == reference["digest"]:
            return stored
        if not stored.startswith(MAGIC):
            raise BlobMissing(f"blob {address} is not what its digest says")
        return await self._open(stored, reference)

    async def _open(self, stored: bytes, reference: Reference) -> bytes:
        address = reference["address"]
        if self.vault is None:
            raise Unavailable(f"blob {address} is encrypted, and this process has no keyring (LINKSPAN_KEYRING)")
        start = len(MAGIC) + 1
        end = start + (stored[len(MAGIC)] if len(stored) > len(MAGIC) else 0)
        data_key = await self.vault.opening(stored[start:end].decode("ascii", "replace"))
        try:
            content = await asyncio.to_thread(_opened, data_key, address, stored, end)
        except (InvalidTag, ValueError):
            raise BlobMissing(f"blob {address} was altered, or is another one: it cannot be decrypted") from None
        if (await asyncio.to_thread(self.vault.digest, b"content", content)).hex() != reference["digest"]:
            raise BlobMissing(f"blob {address} is not what its digest says")
        return content


def _sealed(data_key: DataKey, address: str, content: bytes) -> bytes:
    nonce, key_id = os.urandom(NONCE_BYTES), data_key.id.encode()
    said = MAGIC + bytes((len(key_id),)) + key_id
    return said + nonce + data_key.cipher.encrypt(nonce, content, said + address.encode())


def _opened(data_key: DataKey, address: str, stored: bytes, end: int) -> bytes:
    nonce = stored[end : end + NONCE_BYTES]
    return data_key.cipher.decrypt(nonce, stored[end + NONCE_BYTES :], stored[:end] + address.encode())


def _path(digest: str) -> str:
    return f"{digest[:2]}/{digest}"


def _reference(address: str, digest: str, content: bytes, media_type: str | None) -> Reference:
    return {"address": address, "digest": digest, "size": len(content), "mediaType": media_type}
