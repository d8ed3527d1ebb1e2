"""Clients that send an API key."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable

from linkspan.control.keys import Issued, Keys
from linkspan.ingress.admit.buckets import Bucket
from linkspan.ingress.admit.client import Client, flows_of
from linkspan.ingress.errors import NotAdmitted
from linkspan.kernel.records.api_key import hash_of, id_of

_NO_HASH = bytes(32)
UNKNOWN, EXPIRED, REVOKED = "the API key is not known here", "the API key has expired", "the API key was revoked"


class KeyHolders:
    """``rate`` and ``burst``: of a key that says nothing of them. ``used`` is told each key's id and when, in seconds
    since 1970."""

    def __init__(self, rate: float, burst: int, used: Callable[[str, float], None]) -> None:
        self._rate, self._burst, self._used = rate, burst, used
        self._clients: dict[str, tuple[Issued, Client]] = {}

    def holder(self, keys: Keys, text: str) -> Client:
        """Raises NotAdmitted. Only whoever has the whole key learns that it has expired or was revoked."""
        key_id = id_of(text) or ""
        issued = keys.by_id.get(key_id)
        if issued is None:
            hmac.compare_digest(_NO_HASH, hash_of(text))  # as long as for one that is known
            raise NotAdmitted("unknown", UNKNOWN)
        if not issued.key.fits(text):
            raise NotAdmitted("unknown", UNKNOWN)
        now = time.time()
        if issued.revoked is not None:
            raise NotAdmitted("revoked", REVOKED)
        if issued.key.expired(int(now * 1e6)):
            raise NotAdmitted("expired", EXPIRED)
        self._used(key_id, now)
        known = self._clients.get(key_id)
        if known is None or known[0] is not issued:
            known = self._clients[key_id] = issued, self._client(issued)
        return known[1]

    def _client(self, issued: Issued) -> Client:
        key = issued.key
        rate, burst = (key.rate, key.burst) if key.rate else (self._rate, self._burst)
        bucket = Bucket(rate, burst, time.monotonic()) if rate else None
        return Client("key", key.name, flows_of(key.scopes), bucket, most_bytes=key.max_bytes)
