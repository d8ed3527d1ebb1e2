"""Keeps events on this machine's disk while Kafka is away.

One thread writes; whatever came while it wrote is its next transaction, so that one sync serves many senders (group
commit). A message is settled when it is on disk, or refused: the bound is reached, or the disk is full. All of a
transaction is kept, or nothing.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import structlog

from linkspan.ingress.append.claims import Claim, claim
from linkspan.ingress.append.claims import left as left_folders
from linkspan.ingress.append.lane import Record
from linkspan.ingress.append.left import Left, opened, read_left
from linkspan.ingress.append.store import Row, Store
from linkspan.ingress.errors import NotNow
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.telemetry.metrics import ACCEPTED, SPOOL_BYTES, SPOOL_MESSAGES, SPOOL_OLDEST_SECONDS, SPOOLED

log = structlog.get_logger()

#: Messages and bytes of one transaction, at most (one message may be larger).
GROUP, GROUP_BYTES = 1024, 8 * 1024 * 1024
#: Bytes that wait to be written, at most.
UNWRITTEN_BYTES = 128 * 1024 * 1024
#: Seconds after which a sender may come again when there is no room.
COME_AGAIN = 10

T = TypeVar("T")


class Spool:
    """``flows``: names of the flows that can be drained; ``limit``: bytes kept, at most; ``reserve``: bytes of the disk
    that stay free. ``stores``: what processes that are gone left comes first, the last one is written; what processes
    leave that go later is taken in by ``adopt``."""

    def __init__(self, folder: Path, flows: Iterable[str], limit: int, reserve: int) -> None:
        self.flows = list(flows)
        self._limit, self._reserve = limit, reserve
        self._thread = ThreadPoolExecutor(1, "spool")
        self._queue: deque[tuple[Row, Record]] = deque()
        self._unwritten = self._unwritten_bytes = 0
        self._wake, self._written = asyncio.Event(), asyncio.Event()
        self._messages: Counter[str] = Counter()
        self._bytes = 0
        self._trouble: str | None = None
        self._oldest: int | None = None
        self.filled = asyncio.Event()  # set while there is something to drain
        self._parent = folder
        self._orphans: deque[tuple[Claim, Left]] = deque()
        self._kept_back: set[Path] = set()
        try:
            self._claims = {taken.folder: taken for taken in claim(folder)}
            self.stores = [self._counted(opened(taken.folder)) for taken in self._claims.values()]
        except (OSError, sqlite3.Error) as error:
            raise UserMistake(f"the spool at {folder} cannot be used: {error}; choose another LINKSPAN_DATA") from error
        self._own = self.stores[-1]
        self._measure()
        SPOOL_OLDEST_SECONDS.set_function(self._age)
        if self._bytes:
            log.warning("messages wait in the spool", messages=dict(self._messages), folders=len(self.stores))
        for flow in self._messages.keys() - set(self.flows):
            log.error("messages in the spool belong to no flow of the integration; they stay there", flow=flow)

    def _counted(self, left: Left) -> Store:
        for flow, (count, size) in left.contents.items():
            self._messages[flow] += count
            self._bytes += size
        if left.oldest is not None:
            self._oldest = min(left.oldest, self._oldest or left.oldest)
        return left.store

    async def adopt(self) -> None:
        """Takes in what processes left that are gone by now; only while nothing is drained."""
        await self.call(self._look_for_orphans)
        while self._orphans:
            taken, left = self._orphans.popleft()
            self._claims[taken.folder] = taken
            self.stores.insert(0, self._counted(left))
            found = {flow: count for flow, (count, _) in left.contents.items()}
            log.warning("a spool that was left behind is drained here", folder=str(taken.folder), messages=found)
            self._measure()

    def _look_for_orphans(self) -> None:
        """In the spool's thread. An empty folder is left to whoever starts next."""
        try:
            for taken in left_folders(self._parent, self._kept_back):
                left = read_left(taken.folder, self._kept_back.add)
                if left:
                    self._orphans.append((taken, left))
                else:
                    taken.release()
        except OSError as error:
            log.warning("what other processes left cannot be looked for", folder=str(self._parent), reason=str(error))

    def holds(self, flow: str) -> bool:
        """Then whatever comes for this flow must queue behind."""
        return self._messages[flow] > 0

    @property
    def messages(self) -> int:
        """That can be drained; those of flows that are gone do not count."""
        return sum(self._messages[flow] for flow in self.flows)

    @property
    def is_bare(self) -> bool:
        """There is nothing at all, not even of a flow that is gone."""
        return not self._messages.total()

    def add(self, flow: str, record: Record) -> None:
        """In this order; settles the record when it is on disk. Raises NotNow where there is no room."""
        row = Row(0, flow, record.key, record.headers, record.timestamp_ms, record.value)
        if self._bytes + row.size > self._limit:
            raise NotNow(f"Kafka is away, and the spool is full ({self._limit} bytes)", COME_AGAIN)
        if self._unwritten_bytes + row.size > UNWRITTEN_BYTES:
            raise NotNow("Kafka is away, and the disk does not keep up with what is sent", 1)
        if not self.messages:
            log.warning("messages are spooled", folder=str(self._own.folder))
        if self._oldest is None:
            self._oldest = row.timestamp
        self._messages[flow] += 1
        self._bytes += row.size
        self._unwritten += 1
        self._unwritten_bytes += row.size
        self._queue.append((row, record))
        self._wake.set()
        self.filled.set()

    async def run(self) -> None:
        """Writes until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                await self._write(self._group())
            self._measure()

    def _group(self) -> list[tuple[Row, Record]]:
        group: list[tuple[Row, Record]] = []
        size = 0
        while self._queue and len(group) < GROUP and size < GROUP_BYTES:
            group.append(self._queue.popleft())
            size += group[-1][0].size
        return group

    async def _write(self, group: list[tuple[Row, Record]]) -> None:
        refusal: NotNow | None = None
        rows = [row for row, _ in group]
        try:
            await self.call(lambda: self._write_rows(rows))
        except Exception as error:  # noqa: BLE001 - whatever a disk and SQLite come up with: senders are told
            self._say(str(error) or type(error).__name__)
            self.forget(rows)
            refusal = NotNow(f"Kafka is away, and the spool cannot be written: {error}", COME_AGAIN)
        else:
            self._trouble = None
        self._unwritten -= len(group)
        self._unwritten_bytes -= sum(row.size for row in rows)
        for row, record in group:
            if refusal is None:
                SPOOLED.labels(row.flow).inc()
                ACCEPTED.labels(row.flow).inc()
            record.settled(refusal, refusal is None)
        if not self._unwritten:
            self._written.set()

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            log.error("the spool cannot be written: messages are refused", reason=trouble)
        self._trouble = trouble

    def _write_rows(self, rows: list[Row]) -> None:
        disk = os.statvfs(self._own.folder)
        if disk.f_bavail * disk.f_frsize < self._reserve + sum(row.size for row in rows):
            raise OSError(f"less than {self._reserve} bytes of the disk would stay free")
        self._own.add(rows)

    def forget(self, rows: Iterable[Row]) -> None:
        """They are not in the spool (any more)."""
        for row in rows:
            self._messages[row.flow] -= 1
            self._bytes -= row.size
        if not self.messages:
            self.filled.clear()

    def _measure(self) -> None:
        for flow in {*self.flows, *self._messages}:
            SPOOL_MESSAGES.labels(flow).set(self._messages[flow])
        SPOOL_BYTES.set(self._bytes)
        if self.messages:
            self.filled.set()

    def _age(self) -> float:
        return 0.0 if self._oldest is None else max(0.0, time.time() - self._oldest / 1000)

    async def call(self, work: Callable[[], T]) -> T:
        """In the spool's thread, in turn."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def measure(self) -> None:
        """After records were removed."""
        self._oldest = await self.call(self.stores[0].oldest) if self._messages.total() else None
        self._measure()

    async def written(self) -> None:
        """Waits until all that was added is on disk, or refused."""
        while self._unwritten:
            self._written.clear()
            await self._written.wait()

    def next_store(self, *, drained: bool) -> bool:
        """The first one is done with; False where there is no other. Unless ``drained`` it has messages of flows that
        are gone, and is not opened again by this process."""
        if len(self.stores) > 1:
            done = self.stores.pop(0)
            done.close()
            if not drained:
                self._kept_back.add(done.folder)
            self._claims.pop(done.folder).release()
            return True
        return False

    async def close(self) -> None:
        """Writes what was added; whatever is there stays for the next start."""
        await self.written()
        for store in (*self.stores, *(left.store for _, left in self._orphans)):
            await self.call(store.close)
        self._thread.shutdown()
        for taken in (*self._claims.values(), *(taken for taken, _ in self._orphans)):
            taken.release()
        if not self.is_bare:
            log.warning("messages stay in the spool until the next start", messages=dict(+self._messages))
