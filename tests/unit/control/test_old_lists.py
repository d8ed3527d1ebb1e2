"""Lists of replays that are over for 30 days are deleted with the next plan."""

from __future__ import annotations

from linkspan.control.replays import Replay, Said
from linkspan.control.views.plans import old_lists
from linkspan.kernel.records.plan import PlanHead, PlanPart
from linkspan.replay.wire import OldList

DAY = 86_400_000_000
NOW = 100 * DAY


def replay(plan: str, *, frozen: int, started: bool = True, ended: int | None = None, flow: str = "orders") -> Replay:
    head = PlanHead((PlanPart(0, 2, b"", 9, 9, {}), PlanPart(3, 1, b"", 9, 9, {})), b"", (), 0)
    said = Said("who", "why", frozen)
    return Replay(plan, flow, head, said, started=said if started else None, ended_at=ended)


def test_only_lists_of_this_flow_whose_replay_is_over_for_30_days_are_named() -> None:
    replays = [
        replay("ended long ago", frozen=NOW - 50 * DAY, ended=NOW - 31 * DAY),
        replay("ended of late", frozen=NOW - 50 * DAY, ended=NOW - 29 * DAY),
        replay("never started", frozen=NOW - 31 * DAY, started=False),
        replay("frozen of late", frozen=NOW - 29 * DAY, started=False),
        replay("still under way", frozen=NOW - 90 * DAY),
        replay("of another flow", frozen=NOW - 90 * DAY, ended=NOW - 80 * DAY, flow="bills"),
    ]
    chunks = {0: 2, 3: 1}
    assert old_lists(replays, "orders", NOW) == (OldList("ended long ago", chunks), OldList("never started", chunks))
