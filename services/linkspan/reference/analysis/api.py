"""The analysis system's HTTP paths: what it received, how its queue stands, how to talk to it."""

from __future__ import annotations

import hmac
import json
import sqlite3
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Security
from fastapi.responses import HTMLResponse
from fastapi.security import APIKeyHeader

from linkspan.reference.analysis import protocol, submission
from linkspan.reference.analysis.intake import Intake
from linkspan.reference.analysis.publish import Publisher
from linkspan.reference.analysis.work import Worker
from linkspan.reference.problems import Problem, answers
from linkspan.reference.store import LARGEST, Store

_key = APIKeyHeader(name="X-API-Key", auto_error=False)
#: Failed items and refused events that the status names, newest first.
NAMED = 20


async def _keyed(request: Request, key: Annotated[str | None, Security(_key)]) -> None:
    wanted: str = request.app.state.api_key
    if not hmac.compare_digest((key or "").encode(), wanted.encode()):
        raise Problem(401, "unauthorised", "The X-API-Key is missing or wrong.", headers={"WWW-Authenticate": "ApiKey"})


router = APIRouter(prefix="/v1", tags=["queue"], dependencies=[Security(_keyed)], responses=answers(401))
pages = APIRouter(include_in_schema=False)


@router.get("/received")
async def received(
    request: Request,
    after: Annotated[int, Query(ge=0, le=LARGEST)] = 0,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> dict[str, Any]:
    """Everything submitted on /v1/queue, in order of arrival, with what became of it."""
    store: Store = request.app.state.store
    items = await store.read(lambda connection: submission.received(connection, after, limit))
    return {"items": items, "next": items[-1]["n"] if items else after}


@router.get("/queue/status")
async def status(request: Request) -> dict[str, Any]:
    """How many items wait, were done, failed; how many events wait for an acknowledgement; what was refused."""
    store: Store = request.app.state.store
    worker: Worker = request.app.state.worker
    intake: Intake = request.app.state.intake
    publisher: Publisher = request.app.state.publisher
    kept = await store.read(_kept)
    events = {**publisher.status(), **kept.pop("events")}
    return {"queued": worker.queued, "bound": intake.bound, **kept, "events": events}


@pages.get("/")
async def page() -> HTMLResponse:
    return HTMLResponse(protocol.page(), headers=protocol.HEADERS)


def _kept(connection: sqlite3.Connection) -> dict[str, Any]:
    items = dict(connection.execute("SELECT state, count(*) FROM items GROUP BY state").fetchall())
    events = dict(connection.execute("SELECT state, count(*) FROM events GROUP BY state").fetchall())
    oldest = connection.execute("SELECT queued_at FROM items WHERE state = 'queued' ORDER BY n LIMIT 1").fetchone()
    failed = connection.execute(
        "SELECT id, error, done_at AS at FROM items WHERE state = 'failed' ORDER BY n DESC LIMIT ?", (NAMED,)
    )
    nacked = connection.execute(
        "SELECT id, errors, answered_at AS at FROM events WHERE state = 'nacked' ORDER BY n DESC LIMIT ?", (NAMED,)
    )
    return {
        "oldestQueuedAt": oldest["queued_at"] if oldest else None,
        "done": items.get("done", 0),
        "failed": items.get("failed", 0),
        "failures": [dict(row) for row in failed],
        "events": {
            "acked": events.get("acked", 0),
            "nacked": events.get("nacked", 0),
            "refusals": [{**dict(row), "errors": json.loads(row["errors"])} for row in nacked],
        },
    }
