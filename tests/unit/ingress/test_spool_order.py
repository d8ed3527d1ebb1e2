"""Messages of a key keep their order on the way through the spool and past it, whenever they come."""

import asyncio
import contextlib
import errno
import os
from pathlib import Path

import pytest
from tests.unit.ingress.appending import Answers, draining, flow, lane_of, running, taken

from linkspan.ingress.append import spool as spool_module
from linkspan.ingress.append.claims import claim
from linkspan.ingress.errors import NotNow


async def test_an_arrival_at_any_moment_of_the_hand_over_stays_behind(tmp_path: Path) -> None:
    """Arrivals at every turn of the loop while the spool empties."""
    answers = Answers()
    sent: list[int] = []
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
                sent += taken(appender)
                await asyncio.sleep(0 if number % 50 else 0.002)
            appender.append("orders", 0, answers.record(number))
            number += 1
            for _ in range(20):
                await asyncio.sleep(0.005)
                sent += taken(appender)
        assert sent == list(range(number))
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
                sent += taken(appender)
                await asyncio.sleep(0.001)
        assert sent == [1, 2, 3, 4]


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
                taken(appender)
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
