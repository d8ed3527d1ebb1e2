"""Connections of an HTTP client that may be used again."""

from __future__ import annotations

from typing import Any

import aiohttp

from linkspan.kernel.tls.trusted import client_context

#: Seconds that an idle connection is kept: less than servers keep them, or a request meets a closing one.
KEEP_ALIVE = 3.0


class QuietConnector(aiohttp.TCPConnector):
    """Gives up an idle connection on which anything came in: it is not the answer to what is asked next.

    aiohttp looks only when a connection is put back, so an answer that comes twice would be taken for the next one's,
    and all later answers on the connection for others' too. What comes while the next request is under way cannot be
    told apart: HTTP/1.1 answers say nothing of their requests.
    """

    def __init__(self) -> None:
        super().__init__(limit=0, keepalive_timeout=KEEP_ALIVE, ttl_dns_cache=30, ssl=client_context())

    async def _get(self, key: Any, traces: Any) -> Any:
        while (connection := await super()._get(key, traces)) is not None:
            if connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()
        return None
