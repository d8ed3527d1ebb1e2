"""The worker: takes queued items in order, analyses each, keeps the event that says so."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Gauge

from linkspan.kernel.telemetry import attributes as of
from linkspan.kernel.telemetry.logs import trace_id
from linkspan.kernel.telemetry.traces import Tracing
from linkspan.reference.analysis.assumptions import Assumptions
from linkspan.reference.analysis.extract import PlanExtract
from linkspan.reference.analysis.takeoff import analyse
from linkspan.reference.clock import now
from linkspan.reference.store import Store

log = structlog.get_logger()

#: Ids of what follows from an item are made of the item's id in this namespace, so a second run makes the same ones.
NAMESPACE = uuid.UUID("5f0c7b1e-3a5d-5a0b-9d0f-6f1d2c9b7e44")
#: Items of one commit at most.
BATCH = 64

_FACTS = {
    of.STEP: "analyse",
    of.SYSTEM: "websocket",
    of.DESTINATION: "queue",
    of.OPERATION: "analyse",
    of.OPERATION_TYPE: "process",
}

DONE = Counter("analysis_done_total", "Items analysed, by result.", ["result"])
QUEUED = Gauge("analysis_queued", "Items accepted and not analysed.")


@dataclass(frozen=True, slots=True)
class Done:
    """What became of an item: an event, or the error of our own that kept it from being analysed. ``digest``: of the
    content that was analysed."""

    item: int
    digest: str
    plan_id: str
    event_id: str = ""
    traceparent: str = ""
    body: str = ""
    error: str | None = None


class Worker:
    """One at a time, in order of arrival, which is also the order of every plan."""

    def __init__(
        self, store: Store, assumptions: Assumptions, tracing: Tracing, tell: Callable[[int, str], None]
    ) -> None:
        """``tell(n, plan_id)`` hears of each event once it is kept."""
        self._store = store
        self._assumptions = assumptions
        self._tracing = tracing
        self._tell = tell
        self._wake = asyncio.Event()
        self.queued = 0

    async def open(self) -> None:
        self.queued = await self._store.read(_count_queued)
        QUEUED.set(self.queued)
        self._wake.set()

    def added(self) -> None:
        self.queued += 1
        QUEUED.set(self.queued)
        self._wake.set()

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while await self._batch():
                pass

    async def _batch(self) -> bool:
        try:
            rows = await self._store.read(_next_items)
            if not rows:
                return False
            done = await asyncio.to_thread(self._analyse_all, rows)
            events = await self._store.write(lambda connection: _finish(connection, done))
        except (sqlite3.Error, OSError):
            log.exception("the store failed; trying again")
            await asyncio.sleep(1)
            return True
        self.queued -= len(done)
        QUEUED.set(self.queued)
        for n, plan_id in events:
            self._tell(n, plan_id)
        return True

    def _analyse_all(self, rows: list[sqlite3.Row]) -> list[Done]:
        return [self._analyse(row) for row in rows]

    def _analyse(self, row: sqlite3.Row) -> Done:
        attributes = _FACTS | {of.CORRELATION_ID: row["correlation_id"], of.MESSAGE_ID: row["id"]}
        traced = self._tracing.begin("analyse queue", row["traceparent"], SpanKind.CONSUMER, attributes)
        about = {
            "messageId": row["id"],
            "correlationId": row["correlation_id"],
            "traceId": trace_id(traced.traceparent),
        }
        try:
            message = answer(row["id"], json.loads(row["body"]), self._assumptions)
        except Exception as error:  # one item that we cannot analyse stops no other
            self._tracing.fail(traced, error)
            DONE.labels("failed").inc()
            log.exception("analysis failed", **about)
            return Done(row["n"], row["digest"], row["plan_id"], error=f"{type(error).__name__}: {error}")
        finally:
            traced.span.end()
        DONE.labels("done").inc()
        log.debug("analysed", verdict=message["payload"]["results"]["verdict"], **about)
        text = json.dumps(message)
        return Done(row["n"], row["digest"], row["plan_id"], message["header"]["messageId"], traced.traceparent, text)


def answer(item_id: str, message: dict[str, Any], assumptions: Assumptions) -> dict[str, Any]:
    """The ``AnalysisComplete`` message for a submitted ``PlanExtract`` message; equal but for the timestamp. That of a
    message which a replay has replaced is another one."""
    item_id = " ".join(part for part in (item_id, message.get("replay")) if part)
    plan = PlanExtract.model_validate(message["payload"])
    results, recommendations = analyse(plan, assumptions)
    submitted = message["metadata"]
    return {
        "header": {
            "messageId": str(uuid.uuid5(NAMESPACE, f"event {item_id}")),
            "timestamp": now(),
            "source": "analysis",
            "messageType": "event",
            "type": "AnalysisComplete",
            "version": "1.0",
        },
        "payload": {
            "analysisId": str(uuid.uuid5(NAMESPACE, f"analysis {item_id}")),
            "planId": str(plan.plan_id),
            "results": results,
            "recommendations": recommendations,
        },
        "metadata": {
            "correlationId": submitted["correlationId"],
            "priority": submitted.get("priority") or "normal",
            "retryCount": 0,
        },
    }


def _next_items(connection: sqlite3.Connection) -> list[sqlite3.Row]:
    return connection.execute("SELECT * FROM items WHERE state = 'queued' ORDER BY n LIMIT ?", (BATCH,)).fetchall()


def _count_queued(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM items WHERE state = 'queued'").fetchone()[0])


def _finish(connection: sqlite3.Connection, done: list[Done]) -> list[tuple[int, str]]:
    """(n, plan id) of the new events, in order. What a replay replaced meanwhile stays queued."""
    events = []
    for one in done:
        state = "failed" if one.error else "done"
        changed = connection.execute(
            "UPDATE items SET state = ?, done_at = ?, error = ? WHERE n = ? AND digest = ?",
            (state, now(), one.error, one.item, one.digest),
        ).rowcount
        if changed and one.error is None:
            connection.execute("DELETE FROM events WHERE item = ?", (one.item,))  # of what a replay has replaced
            cursor = connection.execute(
                "INSERT INTO events (id, item, plan_id, traceparent, body, made_at) VALUES (?, ?, ?, ?, ?, ?)",
                (one.event_id, one.item, one.plan_id, one.traceparent, one.body, now()),
            )
            events.append((int(cursor.lastrowid or 0), one.plan_id))
    return events
