"""Hopping windows of one partition of a flow, put together from panes of 10 seconds. Pure.

A pane knows the highest offset that it has counted of each topic. Offsets come rising, so one that is not above it was
counted before: reading the log again from anywhere changes nothing, whatever part of the panes was kept.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from linkspan.kernel.records.latency import bucket_of
from linkspan.readmodel.windows import Window

SECOND = 1_000_000
#: Microseconds: a window hops by a pane.
PANE = 10 * SECOND
#: Seconds.
SIZES = (60, 300, 900)
#: Panes that began longer ago than this are forgotten; microseconds.
KEPT = (max(SIZES) + 60) * SECOND
#: Takeovers that are remembered: what may be read again lies behind the oldest of them.
_TAKEOVERS = 64
_EPOCHS = b"epochs"


class Pane(msgspec.Struct, array_like=True):
    """``events``, ``outcomes``: the highest offset counted of each topic."""

    events: int = -1
    outcomes: int = -1
    counts: dict[str, int] = {}
    latency: dict[int, int] = {}


class Takeovers(msgspec.Struct, array_like=True):
    """(offset among the outcomes, epoch) of the owners that began, rising."""

    begun: list[tuple[int, int]] = []

    def begin(self, offset: int, epoch: int) -> bool:
        """False where it is known, or was void when it came."""
        if any(known >= epoch for _, known in self.begun):
            return False
        self.begun = [*self.begun, (offset, epoch)][-_TAKEOVERS:]
        return True

    def valid(self, offset: int, epoch: int) -> bool:
        """The epoch rule as it was at this offset, also when it is read again later."""
        return all(epoch >= begun for at, begun in self.begun if at < offset)


_pane, _takeovers = msgspec.msgpack.Decoder(Pane), msgspec.msgpack.Decoder(Takeovers)
_encode = msgspec.msgpack.Encoder().encode


class PartitionWindows:
    """``load`` what the table has, tell it each record in the order of the log, keep what ``changes`` gives."""

    def __init__(self) -> None:
        self._panes: dict[int, Pane] = {}
        self._takeovers = Takeovers()
        self._dirty: set[int] = set()
        self._gone: set[int] = set()
        self._dirty_epochs = False

    def load(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """A row that is none of ours is passed over."""
        for key, value in items:
            try:
                if key == _EPOCHS:
                    self._takeovers = _takeovers.decode(value)
                elif len(key) == 8:
                    self._panes[int.from_bytes(key)] = _pane.decode(value)
            except msgspec.DecodeError:
                continue

    def event(self, offset: int, at: int, now: int) -> None:
        """Accepted ``at``; all times microseconds since 1970."""
        pane = self._pane(at, now)
        if pane is None or offset <= pane.events:
            return
        pane.events = offset
        pane.counts["accepted"] = pane.counts.get("accepted", 0) + 1

    def owner(self, offset: int, epoch: int) -> None:
        self._dirty_epochs |= self._takeovers.begin(offset, epoch)

    def valid(self, offset: int, epoch: int) -> bool:
        return self._takeovers.valid(offset, epoch)

    def outcome(self, offset: int, kind: str, at: int, latency: int | None, now: int) -> None:
        """One that is valid; ``latency``: microseconds from acceptance, of a delivery."""
        pane = self._pane(at, now)
        if pane is None or offset <= pane.outcomes:
            return
        pane.outcomes = offset
        pane.counts[kind] = pane.counts.get(kind, 0) + 1
        if latency is not None:
            bucket = bucket_of(latency)
            pane.latency[bucket] = pane.latency.get(bucket, 0) + 1

    def _pane(self, at: int, now: int) -> Pane | None:
        """None where it is forgotten by now, or lies in a future that no clock should tell."""
        start = at - at % PANE
        if not now - KEPT <= start <= now + KEPT:
            return None
        self._dirty.add(start)
        if start not in self._panes:
            self._panes[start] = Pane(counts={}, latency={})
        return self._panes[start]

    def forget(self, now: int) -> None:
        for start in [start for start in self._panes if start < now - KEPT]:
            del self._panes[start]
            self._dirty.discard(start)
            self._gone.add(start)

    def changes(self) -> dict[bytes, bytes | None]:
        """Rows to be kept, None: to be removed; since the last ``kept``."""
        rows: dict[bytes, bytes | None] = {_key(start): _encode(self._panes[start]) for start in self._dirty}
        rows |= dict.fromkeys((_key(start) for start in self._gone), None)
        if self._dirty_epochs:
            rows[_EPOCHS] = _encode(self._takeovers)
        return rows

    def kept(self) -> None:
        """All of ``changes`` stands in the table."""
        self._dirty, self._gone, self._dirty_epochs = set(), set(), False

    def window(self, seconds: int, now: int) -> Window:
        """The pane under way and those before it."""
        since = now - now % PANE - seconds * SECOND + PANE
        window = Window(seconds, since, now)
        for start, pane in self._panes.items():
            if since <= start <= now:
                window.counts.update(pane.counts)
                window.latency.update(pane.latency)
        return window


def _key(start: int) -> bytes:
    return start.to_bytes(8)
