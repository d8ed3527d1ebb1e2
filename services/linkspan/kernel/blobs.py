"""Claim check: large content lives in a blob store, the event carries its reference.

A reference is the JSON form of ``linkspan.BlobReference``:
``{"address": str, "digest": sha256 hex, "size": bytes, "mediaType": str | None}``.
An address is the digest's path inside the store, so equal content is stored once and a write can be repeated.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from linkspan.kernel.errors import LinkspanError, Unavailable, UserMistake

#: Content above this many bytes leaves the event (issue: "content over 256 KiB").
CLAIM_CHECK_BYTES = 256 * 1024

Reference = dict[str, Any]


class BlobMissing(LinkspanError):
    """The store has no such blob, or its content is not what the digest says."""


class BlobStore:
    """Content by digest; ``url`` is a directory path or an ``s3://``, ``gs://``, ``az://``, ``file://`` address."""

    def __init__(self, url: str) -> None:
        self._store: ObjectStore = _open(url)

    async def put(self, content: bytes, media_type: str | None = None) -> Reference:
        digest = hashlib.sha256(content).hexdigest()
        address = f"{digest[:2]}/{digest}"
        await obstore.put_async(self._store, address, content)
        return {"address": address, "digest": digest, "size": len(content), "mediaType": media_type}

    async def get(self, reference: Reference) -> bytes:
        """The content; raises BlobMissing where it is gone or was altered, Unavailable where the store is away."""
        try:
            answer = await obstore.get_async(self._store, reference["address"])
            content = bytes(await answer.bytes_async())
        except FileNotFoundError as error:
            raise BlobMissing(f"blob {reference['address']} is not in the store") from error
        except (BaseError, OSError) as error:
            raise Unavailable(f"blob {reference['address']} cannot be read: {error}") from error
        if hashlib.sha256(content).hexdigest() != reference["digest"]:
            raise BlobMissing(f"blob {reference['address']} is not what its digest says")
        return content


def _open(url: str) -> ObjectStore:
    if "://" in url:
        try:
            return from_url(url)
        except (BaseError, ValueError) as error:
            raise UserMistake(f"blob store {url}: {error}") from error
    directory = Path(url).expanduser().absolute()
    directory.mkdir(parents=True, exist_ok=True)
    return LocalStore(prefix=directory)
