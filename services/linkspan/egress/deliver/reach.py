"""Whether an address can be reached at all."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit


async def listens(url: str) -> str | None:
    """None where somebody listens at the address, else what is wrong."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme in ("https", "wss") else 80)
    try:
        async with asyncio.timeout(2):
            _, writer = await asyncio.open_connection(parts.hostname, port)
    except (OSError, TimeoutError) as error:
        return f"{parts.hostname}:{port}: {error or 'no connection within 2 s'}"
    writer.close()
    return None
