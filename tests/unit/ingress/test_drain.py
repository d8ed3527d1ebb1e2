"""What the spool has is sent, and goes when Kafka has it, at whatever moment the disk or Kafka fails."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.unit.ingress.appending import Answers, draining, running, taken

from linkspan.ingress.append.store import Row


async def test_a_slow_disk_that_reads_on_after_kafka_went_away_again_makes_nothing_be_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = Answers()
    async with running(tmp_path) as (appender, spool):
        for number in range(400):
            appender.append("orders", 0, answers.record(number))
        await spool.written()
        store, reading, goes_on = spool.stores[0], threading.Event(), threading.Event()
        read = store.read

        def slowly(*asked: Any) -> list[Row]:
            rows = read(*asked)
            reading.set()
            assert goes_on.wait(10)
            return rows

        with monkeypatch.context() as patched:
            patched.setattr(store, "read", slowly)
            async with draining(appender):
                assert await asyncio.to_thread(reading.wait, 10)
        appender._rescue()
        sent: list[int] = []
        async with draining(appender), asyncio.timeout(10):
            await asyncio.sleep(0.05)
            goes_on.set()
            while not spool.is_bare:
                sent += taken(appender)
                await asyncio.sleep(0.001)
        assert sent == list(range(400))


async def test_what_comes_while_the_file_is_looked_through_is_not_cleared_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = Answers()
    async with running(tmp_path) as (appender, spool):
        appender.append("orders", 0, answers.record(0))
        await spool.written()
        store = spool.stores[0]
        contents = store.contents
        loop = asyncio.get_running_loop()

        def meanwhile() -> dict[str, tuple[int, int]]:
            found = contents()
            if len(sent) == 1:
                loop.call_soon_threadsafe(spool.add, "orders", answers.record(1))
                time.sleep(0.05)
            return found

        monkeypatch.setattr(store, "contents", meanwhile)
        sent: list[int] = []
        async with draining(appender), asyncio.timeout(10):
            while len(sent) < 2 or not spool.is_bare:
                sent += taken(appender)
                await asyncio.sleep(0.001)
        assert sent == [0, 1]


async def test_a_full_disk_that_clears_the_file_and_then_fails_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = Answers()
    async with running(tmp_path) as (appender, spool):
        appender.append("orders", 0, answers.record(0))
        await spool.written()
        store, cleared = spool.stores[0], spool.stores[0].clear

        def full(_ids: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        def unsynced() -> None:
            monkeypatch.setattr(store, "clear", cleared)
            cleared()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(store, "remove", full)
        monkeypatch.setattr(store, "clear", unsynced)
        async with draining(appender), asyncio.timeout(20):
            while not spool.is_bare:
                taken(appender)
                await asyncio.sleep(0.001)
