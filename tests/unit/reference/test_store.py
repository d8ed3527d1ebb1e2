"""The durable store of the reference systems."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from linkspan.kernel.errors import UserMistake
from linkspan.reference.store import Store

SCHEMA = "CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT UNIQUE NOT NULL)"


def add(value: str) -> object:
    return lambda connection: connection.execute("INSERT INTO t (v) VALUES (?)", (value,)).lastrowid


async def test_writes_that_share_a_commit_keep_their_order_and_a_failing_one_is_undone_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite", SCHEMA)
    values = [f"v{n}" for n in range(1000)]
    values[500] = "v0"
    answers = await asyncio.gather(*(store.submit(add(value)) for value in values), return_exceptions=True)
    assert isinstance(answers[500], sqlite3.IntegrityError)
    rows = await store.read(lambda connection: connection.execute("SELECT v FROM t ORDER BY n").fetchall())
    assert [row["v"] for row in rows] == [value for n, value in enumerate(values) if n != 500]
    await store.close()


async def test_what_was_submitted_before_close_is_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite", SCHEMA)
    futures = [store.submit(add(f"v{n}")) for n in range(600)]
    await store.close()
    await asyncio.gather(*futures)
    again = Store(tmp_path / "s.sqlite", SCHEMA)
    assert (await again.read(lambda connection: connection.execute("SELECT count(*) FROM t").fetchone()))[0] == 600
    await again.close()


async def test_a_second_process_on_the_same_data_is_refused_with_what_to_do(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite", SCHEMA)
    with pytest.raises(UserMistake, match="--data-dir"):
        Store(tmp_path / "s.sqlite", SCHEMA)
    await store.close()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserMistake, match="cannot be made"):
        Store(tmp_path / "file" / "s.sqlite", SCHEMA)
