"""What wraps data keys: the keyring file, or a key management service behind the same methods."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from linkspan.kernel.errors import Unavailable


class KeyAway(Unavailable):
    """The wrapping key cannot be had now: a rotation has not reached this machine yet, or the service is away."""


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A data key as it is stored. ``key_id``: of the key that wrapped it."""

    key_id: str
    content: bytes


class KeyWrapper(Protocol):
    """``context`` is authenticated: what was wrapped for one place is of no use at another."""

    @property
    def newest(self) -> str:
        """Id of the key that wraps."""

    @property
    def created(self) -> datetime:
        """When the newest key was made."""

    @property
    def secret(self) -> bytes:
        """32 bytes that are never rotated, for digests of what is encrypted."""

    async def wrap(self, key: bytes, context: bytes) -> Wrapped:
        """By the newest key. Raises KeyAway."""

    async def unwrap(self, wrapped: Wrapped, context: bytes) -> bytes:
        """Raises KeyAway, or Undecryptable where it was altered or wrapped for another place."""
