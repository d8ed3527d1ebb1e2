"""Pages of an answer that is too long for one."""

from __future__ import annotations

import base64
import binascii

from linkspan.control.errors import wrong

_DEFAULT, _MOST = 100, 1_000


def page_size(said: int) -> int:
    """Raises BadRequest."""
    if said < 0:
        raise wrong("page_size", f"expected 1 to {_MOST}, or 0 for {_DEFAULT}")
    return min(said, _MOST) or _DEFAULT


def token_of(offset: int) -> str:
    """For the page below ``offset``."""
    return base64.urlsafe_b64encode(b"o%d" % offset).decode().rstrip("=")


def offset_of(token: str) -> int:
    """Raises BadRequest."""
    try:
        said = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        if said.startswith(b"o"):
            return int(said[1:])
    except (binascii.Error, ValueError):
        pass
    raise wrong("page_token", "it is none that an earlier answer gave")
