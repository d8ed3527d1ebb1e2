"""Whether a request that waits for an outcome waits in vain: a destination is away, or somebody paused the flow."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable

import structlog

from linkspan.kernel.codec import RecordCodec
from linkspan.kernel.errors import Poison
from linkspan.kernel.topics import WINDOW_STATUS

log = structlog.get_logger()

#: A replica that was not heard of for so long says nothing any more, seconds.
FRESH = 5.0

Opened = asyncio.Future[None]


class Standing:
    """Of all flows, from the records of the ``status`` topic as they arrive."""

    def __init__(self, codec: RecordCodec) -> None:
        self._codec = codec
        self._heard: dict[bytes, tuple[float, frozenset[str]]] = {}
        self._waiting: defaultdict[str, set[Opened]] = defaultdict(set)
        self._paused: frozenset[str] = frozenset()

    def pause(self, flows: Iterable[str]) -> None:
        """These, and no others from now on."""
        self._paused = frozenset(flows)
        self._tell(self._paused)

    def read(self, replica: bytes | None, value: bytes | None) -> None:
        """``value``: None from a replica that ended."""
        if replica is None or replica.startswith(WINDOW_STATUS):
            return
        now = asyncio.get_running_loop().time()
        self._heard = {key: said for key, said in self._heard.items() if now - said[0] < FRESH and key != replica}
        if value is None:
            return
        try:
            flows = self._codec.decode(value)["flows"]
        except Poison as error:
            log.warning("a status record cannot be read", replica=replica.decode(errors="replace"), reason=error.reason)
            return
        opened = frozenset(flow["flow"] for flow in flows if flow["breaker"] != "closed")
        self._heard[replica] = now, opened
        self._tell(opened)

    def _tell(self, flows: Iterable[str]) -> None:
        for flow in flows:
            for waiting in self._waiting.get(flow, ()):
                _set(waiting)

    def is_open(self, flow: str) -> bool:
        """It is paused, or some replica heard of lately does not deliver it now."""
        now = asyncio.get_running_loop().time()
        return flow in self._paused or any(flow in opened for at, opened in self._heard.values() if now - at < FRESH)

    def expect(self, flow: str) -> Opened:
        """Done when it is open, now or later; to be followed by ``forget``."""
        opened: Opened = asyncio.get_running_loop().create_future()
        self._waiting[flow].add(opened)
        if self.is_open(flow):
            _set(opened)
        return opened

    def forget(self, flow: str, opened: Opened) -> None:
        self._waiting[flow].discard(opened)
        if not self._waiting[flow]:
            del self._waiting[flow]


def _set(future: Opened) -> None:
    if not future.done():
        future.set_result(None)
