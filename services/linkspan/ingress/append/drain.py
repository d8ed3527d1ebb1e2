"""From the spool to Kafka, in order, and then out of the way.

While the spool holds messages of a flow, later ones queue behind them there. Under steady load it would never be
empty, so the end is a hand-over: the last few are sent while arrivals wait in memory, and these follow directly. When
Kafka goes away meanwhile, they are spooled, still in order.

A record is removed after Kafka's acknowledgement. A process that is killed in between sends at most one batch again,
with the same ids.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import structlog

from linkspan.ingress.append.lane import Record
from linkspan.ingress.append.spool import Spool
from linkspan.ingress.append.store import Row, Store
from linkspan.ingress.errors import NotNow
from linkspan.kernel.errors import LinkspanError

log = structlog.get_logger()

#: Messages and bytes of one batch (one message may be larger). With fewer left, the hand-over begins.
BATCH, BATCH_BYTES = 500, 4 * 1024 * 1024
#: Seconds until the next attempt where the disk fails.
AGAIN = 1.0
#: Seconds between two looks for what processes left that are gone.
ADOPT_EVERY = 10.0

Put = Callable[[str, Record], None]


class Drain:
    """``put`` appends to Kafka. While ``handing_over`` what comes for a flow with spooled messages is to be held."""

    def __init__(self, spool: Spool, put: Put) -> None:
        self._spool, self._put = spool, put
        self._after = 0
        self._acked: dict[int, Row] = {}
        self._held: list[tuple[str, Record]] = []
        self._held_flows: set[str] = set()
        self.held_bytes = 0
        self.handing_over = False

    def hold(self, flow: str, record: Record) -> None:
        self._held.append((flow, record))
        self._held_flows.add(flow)
        self.held_bytes += len(record.value)

    def holds(self, flow: str) -> bool:
        """Also when the spool is empty already: then whatever comes for this flow must queue behind."""
        return flow in self._held_flows

    def give_back(self) -> list[tuple[str, Record]]:
        """What was held, in order; no longer handing over."""
        self.handing_over = False
        held, self._held, self._held_flows, self.held_bytes = self._held, [], set(), 0
        return held

    async def run(self) -> None:
        """While Kafka is there; cancelled when it is not."""
        await self.close()
        while True:
            try:
                await self._filled()
                await self._pass()
            except Exception:  # other flows go on
                log.exception("the spool cannot be drained; trying again")
                for _, record in self.give_back():
                    record.settled(NotNow("earlier messages are in the spool, and it cannot be drained"), False)
                await asyncio.sleep(AGAIN)

    async def _filled(self) -> None:
        while not self._spool.filled.is_set():
            await self._spool.adopt()
            with suppress(TimeoutError):
                async with asyncio.timeout(ADOPT_EVERY):
                    await self._spool.filled.wait()

    async def close(self) -> None:
        """Removes what Kafka had acknowledged when it went away."""
        if self._acked:
            await self._remove()

    async def _pass(self) -> None:
        """Until the spool is empty; then what was held follows."""
        spool, self._after = self._spool, 0
        while True:
            if spool.messages - len(self._acked) < BATCH:
                self.handing_over = True
                await spool.written()
            rows, self._after = await spool.call(partial(self._next, self._after))
            if rows:
                await self._send(rows)
                await self._remove()
            elif not self.handing_over and len(spool.stores) == 1:
                await asyncio.sleep(0.005)  # the writer has them
            elif not await self._another_store():
                break
        for flow, record in self.give_back():
            self._put(flow, record)
        log.info("the spool is drained")

    def _next(self, after: int) -> tuple[list[Row], int]:
        """What is not acknowledged yet of the first store, from there on, and its last id. It runs on in its thread
        when who called it was cancelled, and changes nothing therefore."""
        while True:
            rows = self._spool.stores[0].read(self._spool.flows, after, BATCH, BATCH_BYTES)
            if not rows:
                return [], after
            after = rows[-1].id
            new = [row for row in rows if row.id not in self._acked]
            if new:
                return new, after

    async def _send(self, rows: list[Row]) -> None:
        """Returns when Kafka has acknowledged all; is cancelled when one fails."""
        left = len(rows)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settled(row: Row, error: LinkspanError | None, _spooled: bool) -> None:
            nonlocal left
            left -= 1
            if error is None:
                self._acked[row.id] = row
            if not left and not done.done():
                done.set_result(None)

        for row in rows:
            self._put(
                row.flow, Record(row.key, row.value, row.headers, row.timestamp, partial(settled, row), spooled=True)
            )
        await done

    async def _remove(self) -> None:
        """On a full disk nothing can be removed; the whole file goes when all of it is in Kafka."""
        acked, store = dict(self._acked), self._spool.stores[0]
        try:
            await self._spool.call(lambda: store.remove(acked))
        except sqlite3.Error as error:
            log.warning("drained messages cannot be removed from the spool yet", reason=str(error))
        else:
            await self._forget(acked)

    async def _forget(self, acked: dict[int, Row]) -> None:
        self._spool.forget(acked.values())
        for number in acked:
            del self._acked[number]
        await self._spool.measure()

    async def _another_store(self) -> bool:
        """All of the first one is in Kafka: its file goes, unless messages of flows that are gone are in it."""
        spool, store = self._spool, self._spool.stores[0]
        contents, drained = await spool.call(partial(self._clear, store))
        self._after = 0
        if drained:
            await self._forget(dict(self._acked))
        elif contents.keys() <= set(spool.flows):
            return True  # some came meanwhile
        elif self._acked:
            raise OSError("the disk is full, and messages of flows that are gone keep the file")
        return spool.next_store(drained=drained)

    def _clear(self, store: Store) -> tuple[dict[str, tuple[int, int]], bool]:
        """What was in it, and whether it goes. One turn of the spool's thread: nothing is written in between."""
        contents = store.contents()
        drained = contents.keys() <= set(self._spool.flows) and not self._next(0)[0]
        if drained:
            store.clear()
        return contents, drained
