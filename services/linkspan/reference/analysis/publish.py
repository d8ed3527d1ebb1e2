"""Pushes events to the connected client until it acknowledges them, one of a plan at a time."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import structlog
from prometheus_client import Counter, Gauge

from linkspan.reference.analysis.lanes import Lanes
from linkspan.reference.clock import now
from linkspan.reference.store import Store

log = structlog.get_logger()

Send = Callable[[str], Awaitable[None]]

#: Events sent and not yet answered, at most.
WINDOW = 256
#: Events read from the store at once.
CHUNK = 32

ANSWERED = Counter("analysis_events_answered_total", "Events answered by the client.", ["answer"])
WAITING = Gauge("analysis_events_waiting", "Events that no client has acknowledged.")


class Publisher:
    """The newest connection gets the events; when it goes, one that is still there takes over."""

    def __init__(self, store: Store, resend_after: float) -> None:
        """``resend_after``: seconds without an answer until an event is sent again."""
        self._store = store
        self._resend_after = resend_after
        self._lanes = Lanes()
        self._clients: list[Send] = []
        self._sent_at: dict[int, float] = {}
        self._wake = asyncio.Event()

    async def open(self) -> None:
        for n, plan_id in await self._store.read(_waiting):
            self.add(n, plan_id)

    def add(self, n: int, plan_id: str) -> None:
        self._lanes.add(n, plan_id)
        WAITING.set(len(self._lanes))
        self._wake.set()

    def connected(self, send: Send) -> None:
        self._clients.append(send)
        self._start_over()

    def disconnected(self, send: Send) -> None:
        was_current = self._clients[-1] is send
        self._clients.remove(send)
        if was_current:
            self._start_over()

    def status(self) -> dict[str, int]:
        return {"waiting": len(self._lanes), "unacknowledged": self._lanes.taken(), "clients": len(self._clients)}

    def _start_over(self) -> None:
        self._lanes.put_back()
        self._sent_at.clear()
        self._wake.set()

    async def run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(1.0, self._resend_after / 2)):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._resend()
                while await self._send_next():
                    pass
            except sqlite3.Error:
                log.exception("the store failed; trying again")
                self._start_over()
                await asyncio.sleep(1)

    async def _send_next(self) -> bool:
        numbers: list[int] = []
        while self._clients and len(numbers) < CHUNK and self._lanes.taken() < WINDOW:
            n = self._lanes.take()
            if n is None:
                break
            numbers.append(n)
        await self._send(numbers)
        return bool(numbers)

    async def _resend(self) -> None:
        due = asyncio.get_running_loop().time() - self._resend_after
        late = [n for n, at in self._sent_at.items() if at <= due]
        if late:
            log.warning("events are sent again: no answer", events=len(late))
        for start in range(0, len(late), CHUNK):
            await self._send(late[start : start + CHUNK])

    async def _send(self, numbers: list[int]) -> None:
        if not numbers:
            return
        frames = await self._store.read(lambda connection: _frames(connection, numbers))
        for n in set(numbers) - frames.keys():
            self._release(n)  # a replay has replaced it
        for n, frame in frames.items():
            if not self._clients or not self._lanes.is_taken(n):
                continue  # answered, or given back, while we read
            self._sent_at[n] = asyncio.get_running_loop().time()
            try:
                await self._clients[-1](frame)
            except Exception as error:  # noqa: BLE001 - its reader notices that the connection is gone
                log.debug("an event could not be sent", reason=str(error))

    def answered(self, text: str) -> None:
        """An ``ack`` or ``nack`` frame; anything else is logged and left."""
        frame = _parsed(text)
        if frame is None:
            log.warning("a frame on /v1/events was neither ack nor nack", frame=text[:500])
            return
        state = "acked" if frame["kind"] == "ack" else "nacked"
        errors = json.dumps(frame.get("errors")) if state == "nacked" else None
        if errors:
            log.error("an event was refused", messageId=frame["id"], errors=frame.get("errors"))
        future = self._store.submit(lambda connection: _answer(connection, frame["id"], state, errors))
        future.add_done_callback(lambda kept: self._kept(kept, state))

    def _kept(self, kept: asyncio.Future[int | None], state: str) -> None:
        if kept.cancelled():
            return
        if error := kept.exception():
            log.error("an answer could not be kept; its event is sent again", reason=str(error))
            return
        n = kept.result()
        if n is not None:
            ANSWERED.labels(state).inc()
            self._release(n)

    def _release(self, n: int) -> None:
        self._sent_at.pop(n, None)
        self._lanes.answered(n)
        WAITING.set(len(self._lanes))
        self._wake.set()


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        frame = json.loads(text)
    except ValueError:
        return None
    good = isinstance(frame, dict) and frame.get("kind") in {"ack", "nack"} and isinstance(frame.get("id"), str)
    return frame if good else None


def _waiting(connection: sqlite3.Connection) -> list[tuple[int, str]]:
    rows = connection.execute("SELECT n, plan_id FROM events WHERE state = 'waiting' ORDER BY n")
    return [(row["n"], row["plan_id"]) for row in rows]


def _frames(connection: sqlite3.Connection, numbers: list[int]) -> dict[int, str]:
    marks = ",".join("?" * len(numbers))
    rows = connection.execute(
        f"SELECT n, id, traceparent, body FROM events WHERE n IN ({marks}) ORDER BY n",  # noqa: S608
        numbers,
    )
    return {row["n"]: _frame(row) for row in rows}


def _frame(row: sqlite3.Row) -> str:
    about = json.dumps({"kind": "event", "id": row["id"], "traceparent": row["traceparent"]})
    return f'{about[:-1]}, "body": {row["body"]}}}'


def _answer(connection: sqlite3.Connection, event_id: str, state: str, errors: str | None) -> int | None:
    row = connection.execute(
        "UPDATE events SET state = ?, answered_at = ?, errors = ? WHERE id = ? AND state = 'waiting' RETURNING n",
        (state, now(), errors, event_id),
    ).fetchone()
    return int(row["n"]) if row else None
