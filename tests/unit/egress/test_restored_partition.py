"""What becomes of events, copies and held keys when logs of a partition are cut at different places."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from linkspan.egress.own.fit import misplaced
from linkspan.egress.partition.ids import Ids
from linkspan.egress.restore.known import Events, Known
from linkspan.egress.restore.mend import Mend, Mending
from linkspan.kernel.records.hold import Hold
from linkspan.kernel.records.parked import Copy
from linkspan.kernel.records.position import Position

KEY = b"order 1"


@dataclass
class Record:
    offset: int
    key: bytes | None = None
    value: bytes | None = b"as it was"
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    timestamp: int = 1_000


def message_id(offset: int) -> bytes:
    return b"message %d" % offset


def outcomes(*said: tuple[str, int] | tuple[str, int, int]) -> list[Record]:
    """(kind, event offset[, epoch]): of ``KEY``; whatever is parked holds it."""
    found = []
    for at, (kind, offset, *epoch) in enumerate(said):
        headers = [("kind", kind.encode()), ("epoch", b"%d" % (epoch[0] if epoch else 1))]
        if kind != "owner":
            headers += [("offset", b"%d" % offset)]
        if kind not in ("owner", "opened"):
            headers += [("message-id", message_id(offset))]
        if kind in ("dead_lettered", "held", "redriven", "opened"):
            headers += [("hold", b"1")]
        found.append(Record(at, None if kind == "owner" else KEY, headers=headers))
    return found


def events(there: Iterable[int], first: int = 0, end: int = 10) -> Events:
    made = Events(first, end)
    for offset in there:
        made.add(offset, message_id(offset))
    return made


def copies(*offsets: int, dead: Iterable[int] = ()) -> dict[int, Copy]:
    found = {}
    for at, offset in enumerate(offsets):
        kind = b"dead_lettered" if offset in dead else b"held"
        headers = [("message-id", message_id(offset)), ("parked-kind", kind), ("parked-key", KEY)]
        found[offset] = Copy(Record(at, b"%d" % offset, headers=headers))
    return found


def mended(
    log: Events, said: list[Record], parked: dict[int, Copy], position: Position | None = None, old: Hold | None = None
) -> tuple[Known, Mending]:
    holds = {KEY: old} if old is not None else {}
    known = Known(log, position or Position(), holds, len(said), Ids(100, 10**9), parked.keys())
    for record in said:
        known.outcome(record)
    return known, Mend(known, parked).result()


HELD: list[Any] = [("delivered", 0), ("dead_lettered", 1), ("held", 2), ("held", 3)]


def test_an_event_without_an_outcome_is_delivered_whatever_the_position_says() -> None:
    known, _ = mended(
        events(range(6)), outcomes(("delivered", 0), ("delivered", 2)), {}, Position(events=6, outcomes=9)
    )
    assert known.events.position() == (1, ((2, 3), (6, 10)))
    assert known.events.unfinished == 4


def test_copies_that_parked_has_lost_are_made_again_from_their_events() -> None:
    _, found = mended(events(range(6)), outcomes(*HELD), copies(1, 2, dead=[1]))
    assert found.remade == [3]
    assert found.holds == {KEY: Hold(1, 3, -1, 0)}


def test_a_dead_letter_that_is_gone_with_its_event_is_given_up_and_the_next_one_takes_its_place() -> None:
    _, found = mended(events([0, 2, 3]), outcomes(*HELD), copies(2, 3))
    assert (found.given_up, found.dead) == ([1], [2])
    assert found.holds == {KEY: Hold(2, 3, -1, 0)}


def test_a_hold_of_which_nothing_is_left_ends() -> None:
    _, found = mended(events([0]), outcomes(*HELD), {})
    assert (found.given_up, found.holds) == ([1, 2, 3], {})


def test_a_copy_that_no_outcome_names_is_dropped_where_its_event_comes_again() -> None:
    known, found = mended(events(range(4)), outcomes(("delivered", 0)), copies(1, dead=[1]))
    assert (found.dropped, found.dead) == ([1], [])
    assert known.events.is_unfinished(1)


def test_a_copy_that_no_outcome_names_becomes_a_dead_letter_where_its_event_is_lost() -> None:
    _, found = mended(events([0]), outcomes(("delivered", 0)), copies(7, dead=[7]))
    assert (found.dropped, found.dead) == ([], [7])


def test_a_follower_that_only_its_copy_knows_of_waits_behind_its_dead_letter() -> None:
    _, found = mended(events([0, 1, 2]), outcomes(*HELD[:3]), copies(1, 2, 8, dead=[1]))
    assert found.adopted == [8]
    assert found.holds == {KEY: Hold(1, 8, -1, 0)}


def test_a_release_goes_on_where_it_was() -> None:
    said = outcomes(*HELD, ("redriven", 1), ("delivered", 1), ("delivered", 2))
    _, found = mended(events(range(4)), said, copies(1, 2, 3, dead=[1]))
    assert found.holds == {KEY: Hold(1, 3, 2, 0, draining=True)}
    assert found.dropped == [1, 2], "their tombstones are lost"


def test_a_state_that_is_ahead_of_the_outcomes_is_not_built_upon() -> None:
    ahead = Position(epoch=4, events=4, outcomes=9)
    known, found = mended(
        events(range(4)), outcomes(*HELD[:2]), copies(1, 2, 3, dead=[1]), ahead, old=Hold(1, 3, -1, 0)
    )
    assert found.holds == {KEY: Hold(1, 1, -1, 0)}
    assert found.dropped == [2, 3]
    assert known.events.position()[0] == 2, "they come again, and are held again"


def test_a_hold_that_is_older_than_the_logs_is_kept() -> None:
    log = events(range(5, 8), first=5)
    position = Position(events=8, outcomes=1)
    _, found = mended(log, outcomes(("delivered", 6)), copies(1, 2, dead=[1]), position, old=Hold(1, 2, -1, 77))
    assert found.holds == {KEY: Hold(1, 2, -1, 0)}
    assert not found.dropped


def test_an_outcome_of_a_former_owner_counts_for_nothing() -> None:
    said = outcomes(("owner", -1, 2), ("delivered", 0, 2), ("dead_lettered", 1, 1))
    known, found = mended(events(range(3)), said, {})
    assert known.events.position()[0] == 1
    assert not found.holds


def test_events_that_stand_elsewhere_are_found_by_their_ids() -> None:
    log = Events(0, 10)
    for offset in range(6):
        log.add(offset + 2, message_id(offset))
    known, _ = mended(log, outcomes(*(("delivered", offset) for offset in range(6))), {})
    assert known.moved == 2


def test_newer_messages_in_the_place_of_lost_ones_are_not_taken_for_moved_ones() -> None:
    log = events(range(4))
    log.add(4, b"accepted after the restore")
    known, _ = mended(log, outcomes(*(("delivered", offset) for offset in range(6))), {})
    assert (known.moved, [*known.foreign], [*known.lost]) == (0, [4], [5])
    assert known.events.is_unfinished(4)


@pytest.mark.parametrize(
    ("position", "ends", "why"),
    [
        (Position(events=11), {}, "events ends at 10 and 11 is named"),
        (Position(finished=((11, 13),)), {}, "events ends at 10 and 13 is named"),
        (Position(outcomes=11), {}, "outcomes ends at 10"),
        (Position(parked=11), {}, "parked ends at 10"),
        (Position(control=11), {}, "control ends at 10"),
        (Position(cluster="old"), {}, "is of Kafka cluster old"),
        (Position(events=10, outcomes=10, parked=10, control=10, cluster="new"), {}, None),
        (Position(events=10), {"events": 12}, None),
    ],
)
def test_a_position_that_names_what_a_log_has_not_is_not_trusted(
    position: Position, ends: dict[str, int], why: str | None
) -> None:
    logs = dict.fromkeys(("events", "outcomes", "parked", "control"), 10) | ends
    found = misplaced(position, [Hold(1, 9, -1, 3)], logs, "new")
    assert (found is None) if why is None else (found is not None and why in found)
