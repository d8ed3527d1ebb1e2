"""Claim check: large content lives in a blob store, the event carries its reference.

A reference is the JSON form of ``linkspan.BlobReference``:
``{"address": str, "digest": sha256 hex, "size": bytes, "mediaType": str | None}``.
An address is the digest's path inside the store, so equal content is stored once and a write can be repeated.
A blob is durable when ``put`` returns. Object stores promise that; obstore's local store does not sync what it writes
(seen with strace, 0.12.1), so a directory is written here.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from linkspan.kernel.disk import sync_folder, write_synced
from linkspan.kernel.errors import LinkspanError, Unavailable, UserMistake

#: Content above this many bytes leaves the event (issue: "content over 256 KiB").
CLAIM_CHECK_BYTES = 256 * 1024

Reference = dict[str, Any]


class BlobMissing(LinkspanError):
    """The store has no such blob, or its content is not what the digest says."""


class BlobStore:
    """Content by digest; ``url`` is a directory path or an ``s3://``, ``gs://``, ``az://``, ``file://`` address."""

    def __init__(self, url: str) -> None:
        self._directory = _directory(url)
        self._store: ObjectStore = _local(self._directory) if self._directory else _remote(url)

    async def put(self, content: bytes, media_type: str | None = None) -> Reference:
        """Raises BaseError or OSError where it cannot be kept."""
        digest = hashlib.sha256(content).hexdigest()
        address = f"{digest[:2]}/{digest}"
        if self._directory is not None:
            await asyncio.to_thread(write_synced, self._directory / address, content)
        else:
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


def _directory(url: str) -> Path | None:
    """None where it is no local one."""
    if "://" not in url:
        return Path(url).expanduser().absolute()
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" and not parts.netloc else None


def _local(directory: Path) -> LocalStore:
    directory.mkdir(parents=True, exist_ok=True)
    sync_folder(directory.parent)
    return LocalStore(prefix=directory)


def _remote(url: str) -> ObjectStore:
    try:
        return from_url(url)
    except (BaseError, ValueError) as error:
        raise UserMistake(f"blob store {url}: {error}") from error
