"""However the records of a partition come in batches, the ledger's rows and counters are what a naive reading says."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.ledger.partition import Outcome, Partition, event_said, outcome_said

from linkspan.kernel.records.position import Position
from linkspan.ledger.gather import Said
from linkspan.ledger.pipeline import Folding
from linkspan.ledger.store import Ends
from linkspan.ledger.streams import Closed
from linkspan.readmodel.database import Database, open_database
from linkspan.readmodel.tally import STATUSES

END = 10
#: More where there is time: `make interleavings`, which CI runs.
EXAMPLES = 40 if "LINKSPAN_STEPS" in os.environ else 15
DECIDING = (*STATUSES, "redriven")


@dataclass
class History:
    events: list[int]
    log: list[Outcome]


@st.composite
def histories(draw: st.DrawFn) -> History:
    one = st.builds(
        Outcome,
        st.sampled_from([*DECIDING, "attempt_failed", "opened"]),
        st.integers(0, END - 1),
        st.integers(0, 3),
        st.sampled_from([False, False, False, True]),
    )
    owner = st.builds(lambda epoch: Outcome("owner", -1, epoch), st.integers(0, 3))
    gone = st.builds(
        lambda first, length, epoch: Outcome("expired", first, epoch, until=first + length),
        st.integers(0, END - 1),
        st.integers(1, END),
        st.integers(0, 3),
    )
    planned = st.builds(
        lambda kind, first, length, epoch: Outcome(kind, first, epoch, plan=True, until=first + length),
        st.sampled_from(["skipped", "cancelled"]),
        st.integers(0, END - 1),
        st.integers(1, END),
        st.integers(0, 3),
    )
    events = draw(st.sets(st.integers(0, END - 1)))
    return History(sorted(events), draw(st.lists(st.one_of(one, one, one, owner, gone, planned), max_size=25)))


def naive(history: History) -> tuple[dict[int, str], Counter[str]]:
    """Statuses by event, and the counters."""
    status: dict[int, str] = {}
    rows, counted = set(history.events), Counter[str]()
    pieces: list[range] = []
    in_force = 0
    for one in history.log:
        stale = one.epoch < in_force
        if one.kind == "owner":
            in_force = max(in_force, one.epoch)
        elif one.until >= 0 and not one.plan:
            first = max([one.event, *(piece.stop for piece in pieces)])
            if not stale and first < one.until:
                pieces.append(range(first, one.until))
                for event in range(first, one.until):
                    status.setdefault(event, "expired")
        elif not one.plan and stale:
            counted["repeats"] += 1
        elif not one.plan and one.kind in (*DECIDING, "attempt_failed"):
            rows.add(one.event)
            if one.kind in DECIDING:
                counted["repeats"] += one.kind == "delivered" and status.get(one.event) == "delivered"
                status[one.event] = "in_flight" if one.kind == "redriven" else one.kind
    found = {event: status.get(event, "in_flight") for event in rows}
    counted.update(found.values())
    counted["expired"] += sum(event not in rows for piece in pieces for event in piece)
    return found, Counter({name: count for name, count in counted.items() if count})


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    made = open_database(f"sqlite:///{tmp_path_factory.mktemp('ledger')}/ledger.db")
    made.prepare("t")
    yield made
    made.close()


@pytest.mark.timeout(600)
@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@given(history=histories(), data=st.data())
def test_any_order_of_batches_gives_the_rows_and_counters_of_a_naive_reading(
    database: Database, history: History, data: st.DataObject
) -> None:
    made = Partition(database)
    events = [event_said(offset) for offset in history.events]
    log = [outcome_said(offset, one) for offset, one in enumerate(history.log)]
    read = told = 0
    while read < len(events) or told < len(log):
        back, also = data.draw(st.integers(0, min(2, read))), data.draw(st.integers(0, min(2, told)))
        to_read = data.draw(st.integers(read, len(events)))
        to_tell = data.draw(st.integers(told, len(log)))
        made.fold(events[read - back : to_read], log[told - also : to_tell])
        read, told = to_read, to_tell
        if data.draw(st.booleans()):
            made.load()
    status, counted = naive(history)
    rows = made.rows()
    assert {event: row.status for event, row in rows.items()} == status
    assert made.counters() == counted
    for event, row in rows.items():
        assert (row.message_id, row.accepted_at) == (f"m{event}", 1_000 + event)
        assert (row.size is not None) == (event in history.events)
    whole = Partition(database)
    whole.fold(events, log)
    again = Partition(database)
    again.fold([], log)
    again.fold(events, [])
    assert made.content() == whole.content() == again.content()


def test_who_lost_the_offsets_changes_nothing(database: Database) -> None:
    made = Partition(database)
    late = Partition(database)
    late.name = made.name
    late.load()
    made.fold([event_said(0)], [])
    made.fold([], [outcome_said(0, Outcome("delivered", 0, 1))])
    before = made.content()
    with pytest.raises(Closed):
        late.fold([event_said(0)], [outcome_said(0, Outcome("dead_lettered", 0, 1))])
    assert made.content() == before
    late.load()
    late.fold([event_said(0), event_said(1)], [outcome_said(0, Outcome("delivered", 0, 1))])
    assert late.counters() == {"delivered": 1, "in_flight": 1}


def test_a_position_counts_once_the_outcomes_that_it_knew_are_folded(database: Database) -> None:
    made = Partition(database)
    folding = Folding(database, made.streams)
    folding.fold({made.name: Said([event_said(0), event_said(1)], [], Position(events=2, outcomes=1), 4)}, {})
    assert made.streams[made.name].progress.accounted == 0
    folding.fold({made.name: Said([], [outcome_said(0, Outcome("delivered", 0, 1))])}, {made.number: Ends(2, 1)})
    progress = made.streams[made.name].progress
    assert (progress.accounted, progress.state, progress.events, progress.outcomes) == (2, 5, 2, 1)
