"""Pages of an answer that is too long for one."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from linkspan.control.errors import wrong

_USUAL, _MOST = 100, 1_000


def page_size(said: int) -> int:
    """Raises BadRequest."""
    if said < 0:
        raise wrong("page_size", f"expected 1 to {_MOST}, or 0 for {_USUAL}")
    return min(said, _MOST) or _USUAL


def token_of(*place: str | int) -> str:
    """For the page that begins after ``place``."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def place_of(token: str, kind: Any) -> Any:
    """What ``token_of`` was given, as the tuple type ``kind``; None for no token. Raises BadRequest."""
    if not token:
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)), type=kind)
    except (ValueError, msgspec.MsgspecError):
        raise wrong("page_token", "it is none that an earlier answer gave") from None
