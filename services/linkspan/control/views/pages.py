"""Pages of an answer: their size, and the token that says where the next one begins."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from linkspan.control.errors import BadRequest
from linkspan.kernel.errors import Fault

LARGEST, USUAL = 1_000, 100


def page_size(asked: int) -> int:
    """Raises BadRequest."""
    if asked < 0 or asked > LARGEST:
        raise BadRequest(Fault("page_size", f"is {asked}; give 1 to {LARGEST}, or 0 for {USUAL}"))
    return asked or USUAL


def token_of(place: tuple[Any, ...]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def place_of(token: str, kind: Any) -> Any:
    """The ``place`` that ``token_of`` was given, of the tuple type ``kind``; None for no token. Raises BadRequest."""
    if not token:
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)), type=kind)
    except (ValueError, msgspec.MsgspecError):
        raise BadRequest(Fault("page_token", "is none that an earlier answer gave")) from None
