"""Messages of a key keep their order on the way through the spool and past it, whenever they come."""

import asyncio
import contextlib
import errno
import os
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from linkspan.ingress.append import spool as spool_module
from linkspan.ingress.append.appender import Appender
from linkspan.ingress.append.claims import claim
from linkspan.ingress.append.lane import Record
from linkspan.ingress.append.spool import Spool
from linkspan.ingress.append.store import Row
from linkspan.ingress.errors import NotNow
from linkspan.kernel.kafka.clients import KafkaClients

GIB = 1024**3


def flow(name: str = "orders", away: str = "spool") -> Any:
    spec = SimpleNamespace(partitions=1, when_kafka_is_away=away)
    return SimpleNamespace(name=name, spec=spec, topics=SimpleNamespace(events=f"x.{name}.events"))


class Answers:
    """What became of each record: `kafka`, `spool` or the error's text."""

    def __init__(self) -> None:
        self.of: dict[int, str] = {}

    def record(self, number: int, *, may_spool: bool = True) -> Record:
        def settled(error: Any, spooled: bool) -> None:
            assert number not in self.of
            self.of[number] = str(error) if error else "spool" if spooled else "kafka"

        return Record(b"key", b"%d" % number, [("accepted-seq", b"%d" % number)], 1000 + number, settled, may_spool)


@asynccontextmanager
async def running(
    folder: Path, *flows: Any, limit: int = GIB, reserve: int = 0
) -> AsyncIterator[tuple[Appender, Spool]]:
    """The appender without its connection: what it would send stays in the lanes."""
    flows = flows or (flow(),)
    spool = Spool(folder, [one.name for one in flows], GIB, reserve)

    async def prepare() -> None:
        raise AssertionError

    writing = asyncio.create_task(spool.run())
    try:
        yield Appender(KafkaClients("127.0.0.1:9"), flows, 1, prepare, spool, grace=0), spool
    finally:
        await spool.close()
        writing.cancel()


def lane_of(appender: Appender, name: str = "orders") -> Any:
    return appender._lanes[name][0]


@asynccontextmanager
async def draining(appender: Appender) -> AsyncIterator[None]:
    appender._serving = True
    appender._found()
    assert appender._drain
    task = asyncio.create_task(appender._drain.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_arrival_at_any_moment_of_the_hand_over_stays_behind(tmp_path: Path) -> None:
    """Arrivals at every turn of the loop while the spool empties."""
    answers = Answers()
    sent: list[bytes] = []
    async with running(tmp_path) as (appender, spool):
        for number in range(1500):
            appender.append("orders", 0, answers.record(number))
        await spool.written()
        number = 1500
        async with draining(appender):
            while spool.messages or appender._drain.handing_over or number < 2000:
                if number < 2000 or appender._drain.handing_over:  # else a slow disk would never be done
                    appender.append("orders", 0, answers.record(number))
                    number += 1
                for record in lane_of(appender).give_back():
                    sent.append(record.value)
                    record.settled(None, False)
                await asyncio.sleep(0 if number % 50 else 0.002)
            appender.append("orders", 0, answers.record(number))
            number += 1
            for _ in range(20):
                await asyncio.sleep(0.005)
                for record in lane_of(appender).give_back():
                    sent.append(record.value)
                    record.settled(None, False)
        assert [int(value) for value in sent] == list(range(number))
        assert set(answers.of) == set(range(number))
        assert answers.of[number - 1] == "kafka"
        assert spool.is_bare


async def test_what_a_failed_append_leaves_comes_before_what_came_later(tmp_path: Path) -> None:
    """Also in the middle of a hand-over: drained, direct and held records, each failed once."""
    answers = Answers()
    async with running(tmp_path) as (appender, spool):
        appender._found()
        for number in range(3):
            appender.append("orders", 0, answers.record(number))
        appender._lost("gone")
        appender._serving = True
        with pytest.raises(NotNow, match="gone"):
            appender.append("orders", 0, answers.record(99))
        appender._rescue()
        appender._serving = False
        appender.append("orders", 0, answers.record(3))
        await spool.written()
        assert answers.of == dict.fromkeys(range(4), "spool")
        async with draining(appender):
            async with asyncio.timeout(5):
                while not lane_of(appender)._waiting:  # noqa: ASYNC110 - the lane has no event
                    await asyncio.sleep(0.001)
            appender.append("orders", 0, answers.record(4))  # held
        lane_of(appender)._waiting.popleft().settled(None, False)  # Kafka has the first
        appender._rescue()
        appender._serving = False
        await spool.written()
        assert answers.of[4] == "spool"
        sent = []
        async with draining(appender), asyncio.timeout(5):
            while len(sent) < 4:
                for record in lane_of(appender).give_back():
                    sent.append(int(record.value))
                    record.settled(None, False)
                await asyncio.sleep(0.001)
        assert sent == [1, 2, 3, 4]


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
                for record in lane_of(appender).give_back():
                    sent.append(int(record.value))
                    record.settled(None, False)
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
                for record in lane_of(appender).give_back():
                    sent.append(int(record.value))
                    record.settled(None, False)
                await asyncio.sleep(0.001)
        assert sent == [0, 1]


async def test_a_source_and_a_flow_that_refuses_never_spool(tmp_path: Path) -> None:
    answers = Answers()
    async with running(tmp_path, flow(), flow("reports", "refuse")) as (appender, spool):
        for name, may_spool in (("orders", False), ("reports", True)):
            with pytest.raises(NotNow):
                appender.append(name, 0, answers.record(1, may_spool=may_spool))
        appender._found()
        appender.append("orders", 0, answers.record(2, may_spool=False))
        appender.append("reports", 0, answers.record(3))
        appender._lost("gone")
        appender._rescue()
        assert answers.of.keys() == {2, 3}
        assert all("send it again" in text for text in answers.of.values())
        assert spool.is_bare


async def test_a_source_does_not_overtake_what_is_spooled(tmp_path: Path) -> None:
    answers = Answers()
    async with running(tmp_path) as (appender, spool):
        appender.append("orders", 0, answers.record(1))
        await spool.written()
        appender._found()
        with pytest.raises(NotNow, match="still in the spool"):
            appender.append("orders", 0, answers.record(2, may_spool=False))


async def test_a_disk_that_fails_refuses_all_of_that_group_and_nothing_of_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = Answers()
    async with running(tmp_path) as (appender, spool):
        appender.append("orders", 0, answers.record(1))
        await spool.written()

        def full(_path: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patched:
            patched.setattr(spool_module.os, "statvfs", full)
            for number in (2, 3):
                appender.append("orders", 0, answers.record(number))
            await spool.written()
        appender.append("orders", 0, answers.record(4))
        await spool.written()
        assert "No space left" in answers.of[2]
        assert "No space left" in answers.of[3]
        assert (answers.of[1], answers.of[4]) == ("spool", "spool")
        assert [row.value for row in spool.stores[0].read(["orders"], 0, 9, 999)] == [b"1", b"4"]


async def test_a_reserve_of_the_disk_stays_free(tmp_path: Path) -> None:
    answers = Answers()
    async with running(tmp_path, reserve=2**62) as (appender, spool):
        appender.append("orders", 0, answers.record(1))
        await spool.written()
        assert "would stay free" in answers.of[1]
        assert spool.is_bare


async def test_records_of_a_flow_that_is_gone_stay(tmp_path: Path) -> None:
    answers = Answers()
    async with running(tmp_path, flow(), flow("old")) as (appender, spool):
        for number, name in enumerate(("old", "orders", "old")):
            appender.append(name, 0, answers.record(number))
        await spool.written()
    async with running(tmp_path) as (appender, spool):
        async with draining(appender), asyncio.timeout(5):
            while spool.messages:
                for record in lane_of(appender).give_back():
                    record.settled(None, False)
                await asyncio.sleep(0.001)
        assert not spool.is_bare
    async with running(tmp_path, flow("old")) as (_, spool):
        assert [row.value for row in spool.stores[0].read(["old"], 0, 9, 999)] == [b"0", b"2"]


async def test_a_damaged_file_is_set_aside_and_said(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "records.sqlite").write_bytes(b"no database at all, whatever its name" * 200)
    answers = Answers()
    async with running(tmp_path) as (appender, spool):
        appender.append("orders", 0, answers.record(1))
        await spool.written()
        assert answers.of[1] == "spool"
    assert len(list((tmp_path / "1").glob("damaged-*"))) == 1


def test_each_process_has_a_folder_of_its_own_and_takes_over_what_is_left(tmp_path: Path) -> None:
    with contextlib.ExitStack() as held:
        first, second = claim(tmp_path), claim(tmp_path)
        assert [one.folder.name for one in (*first, *second)] == ["1", "2"]
        first[0].release()
        third = claim(tmp_path)
        assert [one.folder.name for one in third] == ["1"]
        for one in (*second, *third):
            held.callback(one.release)
        fourth = claim(tmp_path)
        assert [one.folder.name for one in fourth] == ["3"]
        held.callback(fourth[0].release)
    everything = claim(tmp_path)
    assert [one.folder.name for one in everything] == ["1", "2", "3"]
    for one in everything:
        one.release()
