"""What left, in eight bytes: by which a new version can be compared with what was really delivered."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgspec

#: Names in one order, so that two versions that mean the same say the same.
_encode = msgspec.json.Encoder(order="sorted").encode


def sent_digest(header: Mapping[str, Any], payload: Mapping[str, Any]) -> bytes:
    """Of the outgoing message but its metadata, of which an attempt has its own."""
    return blake2b(_encode((header, payload)), digest_size=8).digest()
