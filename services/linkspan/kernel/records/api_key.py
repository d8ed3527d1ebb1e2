"""API keys with which messages may be sent: how one looks, and what is kept of it."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import asdict, dataclass

from linkspan.kernel.codec import RecordCodec
from linkspan.kernel.schemas import SchemaCatalog

#: Scope for the messages of all flows.
ALL_FLOWS = "send:*"
_KEY = re.compile(r"lsk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_ID_BYTES, _SECRET_BYTES = 6, 32


def scope_of(flow: str) -> str:
    return f"send:{flow}"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """As ``ApiKey.avsc`` says; ``expires`` in microseconds since 1970."""

    id: str
    name: str
    hash: bytes
    scopes: tuple[str, ...]
    expires: int | None = None
    rate: float = 0.0
    burst: int = 0
    max_bytes: int = 0

    def expired(self, at: int) -> bool:
        """``at``: microseconds since 1970."""
        return self.expires is not None and self.expires <= at

    def fits(self, text: str) -> bool:
        """Whether ``text`` is this key."""
        return hmac.compare_digest(self.hash, hash_of(text))


def new_key() -> tuple[str, str]:
    """Its id, and the key itself."""
    key_id = secrets.token_hex(_ID_BYTES)
    return key_id, f"lsk_{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"


def id_of(text: str) -> str | None:
    """The id that a key says; None where it is none."""
    found = _KEY.fullmatch(text)
    return found[1] if found else None


def hash_of(text: str) -> bytes:
    """One round is enough: the secret is random and has 256 bits."""
    return hashlib.sha256(text.encode()).digest()


class ApiKeyCodec:
    def __init__(self, catalog: SchemaCatalog) -> None:
        self._codec = RecordCodec(catalog, "ApiKey")

    def encode(self, key: ApiKey) -> bytes:
        said = asdict(key)
        return self._codec.encode(said | {"scopes": list(key.scopes), "maxBytes": said.pop("max_bytes")})

    def decode(self, value: bytes | None) -> ApiKey:
        """Raises Poison."""
        found = self._codec.decode(value)
        return ApiKey(**(found | {"scopes": tuple(found["scopes"]), "max_bytes": found.pop("maxBytes")}))
