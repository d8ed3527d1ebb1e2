"""The last moment before a request is written: may it still be?"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import aiohttp

from linkspan.egress.partition.answer import Unanswered, Withheld
from linkspan.kernel.errors import DeliveryError
from linkspan.kernel.http.connector import QuietConnector


class Writing:
    """One delivery; requests of the running task inside ``with`` are its. ``written``: the last may have reached
    the destination."""

    __slots__ = ("_token", "may_go", "written")

    def __init__(self, may_go: Callable[[], bool]) -> None:
        self.may_go, self.written = may_go, False

    def __enter__(self) -> None:
        self.written = False
        self._token = _writing.set(self)

    def __exit__(self, *_: object) -> None:
        _writing.reset(self._token)


_writing: ContextVar[Writing | None] = ContextVar("writing", default=None)


class LeasedConnector(QuietConnector):
    """Name lookup, connection and TLS take their time, and only after them is the request written: asks then.

    The client itself would send a PUT again where a kept connection broke; that would be a repeat without a mark.
    """

    async def connect(self, req: aiohttp.ClientRequest, *arguments: Any, **named: Any) -> Any:
        """Raises Withheld, or Unanswered for a repeat."""
        connection = await super().connect(req, *arguments, **named)
        writing = _writing.get()
        if writing is None:
            return connection
        error: DeliveryError | None = None
        if writing.written:
            error = Unanswered("the connection broke before the answer")
        elif not writing.may_go():
            error = Withheld("not sent: the partition may belong to another replica by now")
        if error is not None:
            connection.release()
            raise error
        writing.written = True
        return connection
