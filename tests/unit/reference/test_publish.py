"""Events reach the client one of a plan at a time, whatever becomes of those before them; on a real store."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path

from linkspan.reference.analysis.publish import Publisher
from linkspan.reference.analysis.tables import SCHEMA
from linkspan.reference.store import Store

ITEM = "INSERT INTO items (id, digest, plan_id, correlation_id, body, queued_at) VALUES (?, '', 'p', '', '{}', '')"
EVENT = "INSERT INTO events (n, id, item, plan_id, body, made_at) VALUES (?, ?, ?, 'p', '{}', '')"


def analysed(connection: sqlite3.Connection) -> None:
    for n in (1, 2):
        item = connection.execute(ITEM, (f"item {n}",)).lastrowid
        connection.execute(EVENT, (n, f"event {n}", item))


async def test_an_event_that_a_replay_has_replaced_keeps_none_of_its_plan_back(tmp_path: Path) -> None:
    store = Store(tmp_path / "analysis.sqlite", SCHEMA)
    await store.submit(analysed)
    publisher = Publisher(store, resend_after=30)
    await publisher.open()
    await store.submit(lambda connection: connection.execute("DELETE FROM events WHERE n = 1").rowcount)
    sent: asyncio.Queue[str] = asyncio.Queue()
    running = asyncio.create_task(publisher.run())
    try:
        publisher.connected(sent.put)
        assert json.loads(await asyncio.wait_for(sent.get(), 10))["id"] == "event 2"
    finally:
        running.cancel()
        await asyncio.wait({running})
        await store.close()
