"""Answers are read to a limit: a destination cannot fill our memory."""

from __future__ import annotations

import aiohttp

#: Bytes of an answer that are read.
BODY_LIMIT = 64 * 1024


async def read_bounded(response: aiohttp.ClientResponse, limit: int = BODY_LIMIT) -> bytes:
    """The body; of a longer one its first ``limit`` bytes, and the connection is not used again."""
    parts: list[bytes] = []
    left = limit
    while left > 0 and (part := await response.content.read(left)):
        parts.append(part)
        left -= len(part)
    if left <= 0:
        response.close()
    return b"".join(parts)
