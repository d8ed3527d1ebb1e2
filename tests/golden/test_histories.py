"""Recorded histories come out today as they came out when they were recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.golden.history import EXPECTED, HISTORIES, Recorded, read_history
from tests.golden.replay import Replay

FOLDERS = sorted(path for path in HISTORIES.iterdir() if path.is_dir())


@pytest.fixture(params=FOLDERS, ids=lambda path: path.name)
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


def differences(expected: Any, found: Any, where: str = "") -> list[str]:
    """Facts that nobody knew when it was recorded may have been added; those of then must be the same."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return [one for name in expected for one in differences(expected[name], found.get(name), f"{where}.{name}")]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(expected, found, strict=True))
        return [one for index, pair in pairs for one in differences(*pair, f"{where}[{index}]")]
    return [] if expected == found else [f"{where}: was {expected!r}, is {found!r}"]


def test_every_record_is_read_and_folded_as_it_was(folder: Path) -> None:
    expected = json.loads((folder / EXPECTED).read_text())
    found = json.loads(json.dumps(Replay(read_history(folder)).results()))
    assert not differences(expected, found)


def test_a_successor_knows_the_same_whichever_checkpoint_it_begins_with(folder: Path) -> None:
    """Every earlier state of the compacted topic, and all the outcomes after it, say what the last one says."""
    replay, history = Replay(read_history(folder)), read_history(folder)
    for partition in range(history.partitions):
        last = replay.remembered(partition)
        for until in replay.checkpoints(partition):
            assert not differences(last, replay.remembered(partition, until)), f"from state[{partition}]@{until}"


def test_a_successor_at_any_moment_sends_in_order_and_nothing_that_is_recorded(folder: Path) -> None:
    """Wherever the log is cut: each event is finished by a valid outcome, or it is sent or parked by the successor."""
    history = read_history(folder)
    for at in [*history.cuts(), 2**62]:
        cut = history.until(at)
        for partition, successor in enumerate(Replay(cut).standing()["successors"]):
            events = {one.offset: one.key for one in cut.of("events", partition)}
            for key in set(events.values()):
                mine = [offset for offset in successor["sends"] if events[offset] == key]
                assert mine == sorted(set(mine))
            done = {first for first in events if first < successor["position"]["events"]}
            for first, end in successor["position"]["finished"]:
                done |= set(range(first, end))
            decided = {offset for _, offset in successor["decides"]}
            assert not done & set(successor["sends"])
            assert set(events) <= done | set(successor["sends"]) | decided


def test_a_record_is_kept_byte_for_byte() -> None:
    record = Recorded("events", 1, 7, 1_700_000_000_000, None, b"\x00\xff", (("digest", b"\x80"), ("digest", b"")))
    assert Recorded.read(record.line()) == record
