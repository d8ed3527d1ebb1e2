"""A rebuild that is cut off while a thread of it writes leaves nothing of the batch in SQLite."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, func, select
from tests.integration.ledger.partition import INTEGRATION, Outcome, event_said, outcome_said

from linkspan.ledger import rebuild
from linkspan.ledger.gather import Said
from linkspan.ledger.pipeline import Folding
from linkspan.ledger.rebuild import Rebuild
from linkspan.ledger.streams import Name, load_streams
from linkspan.readmodel.database import Database, open_database
from linkspan.readmodel.tables import counters, ledger, messages, offsets

NAME: Name = ("f", 0)
COUNT = 4


class Slow:
    """A value that SQLite gets in the midst of a batch, once its transaction was ended by another thread, or after
    half a second."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.connection: Any = None

    def __conform__(self, _protocol: object) -> str:
        self._loop.call_soon_threadsafe(self.reached.set)
        end = time.monotonic() + 0.5
        while self.connection.in_transaction and time.monotonic() < end:
            time.sleep(0.01)
        return "slow"


class SlowFolding(Folding):
    slow: Slow

    def fold_within(self, connection: Connection, said: Mapping[Name, Said]) -> None:
        self.slow.connection = connection.connection.driver_connection
        super().fold_within(connection, said)


class Records:
    """What a follower gives, without Kafka; ``slow`` is in the second of its records."""

    def __init__(self, database: Database, build: int, slow: Slow | None) -> None:
        with database.writing() as connection:
            self.streams = load_streams(connection, INTEGRATION, [NAME], build)
        self.folding = Folding(database, self.streams)
        self.folded, self._slow = 0, slow
        if slow is not None:
            self.folding = SlowFolding(database, self.streams)
            self.folding.slow = slow

    async def everything(self) -> list[Name]:
        return [NAME]

    async def open(self, names: list[Name]) -> None:
        pass

    async def step(self) -> int:
        return 0

    async def close(self) -> None:
        pass

    async def log_ends(self) -> dict[Name, tuple[int, int]]:
        return {NAME: (COUNT, COUNT)}

    async def gather(self) -> dict[Name, Said]:
        events = [event_said(offset) for offset in range(COUNT)]
        if self._slow is not None:
            slow: Any = self._slow
            events[1] = msgspec.structs.replace(events[1], message_id=slow)
        outcomes = [outcome_said(offset, Outcome("delivered", offset, 0)) for offset in range(COUNT)]
        return {NAME: Said(events, outcomes)}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = open_database(f"sqlite:///{tmp_path}/ledger.db")
    made.prepare("t")
    yield made
    made.close()


def rebuilding(database: Database, slow: Slow) -> Rebuild:
    """Only its first try meets ``slow``."""
    left: list[Slow | None] = [slow]

    def make(build: int) -> Any:
        return Records(database, build, left.pop() if left else None)

    return Rebuild(database, "t", make, lambda _folded, _left: None)


def counted(connection: Connection) -> dict[str, int]:
    rows = connection.execute(select(counters.c.status, counters.c.count).where(counters.c.count != 0))
    return dict(iter(rows))


async def test_a_switch_that_takes_too_long_is_tried_again_and_counts_right(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "_SWITCH", 0.2)
    slow = Slow()
    await asyncio.wait_for(rebuilding(database, slow).run(), 60)
    assert slow.reached.is_set()
    with database.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(messages)) == COUNT
        assert counted(connection) == {"delivered": COUNT}


async def test_nothing_is_left_of_a_switch_that_is_interrupted_however_often(database: Database) -> None:
    slow = Slow()
    running = asyncio.create_task(rebuilding(database, slow).run())
    await asyncio.wait_for(slow.reached.wait(), 30)
    for _ in range(3):
        running.cancel()
        await asyncio.sleep(0.01)
    await asyncio.wait({running}, timeout=30)
    assert running.cancelled()
    with database.writing() as connection:  # nobody holds SQLite's only writer
        assert connection.scalar(select(func.count()).select_from(messages)) == 0
        assert list(connection.execute(select(offsets.c.events, offsets.c.closed))) == [(0, False)]
        assert set(connection.scalars(select(ledger.c.state))) == {"live", "building"}
