"""The watch: how far everything is read, and when a worker has to end."""

from __future__ import annotations

import pytest
from aiokafka import TopicPartition

from linkspan.insight.plan import Plan
from linkspan.insight.watch import Stalled, Watch
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.topics import InsightTopics

EVENTS, OUTCOMES = TopicPartition("x.f.events", 0), TopicPartition("x.f.outcomes", 0)
MENTIONS = TopicPartition("linkspan-insight-x-mentions-repartition", 0)


def watch(mine: set[int]) -> Watch:
    plan = Plan("x", InsightTopics.of("x"), {"f": 1}, 1, {"f": 1}, {})
    return Watch(KafkaClients("127.0.0.1:9"), plan, 60, lambda _: mine)


def offsets(events: int, mentions: int) -> dict[TopicPartition, int]:
    return {EVENTS: events, OUTCOMES: 0, MENTIONS: mentions}


def test_read_up_to_follows_the_events_and_then_what_they_said() -> None:
    seen = watch({0})
    seen._read_on(100, offsets(5, 0), offsets(0, 0))
    seen._read_on(200, offsets(6, 5), offsets(5, 1))
    assert seen.read_up_to == 0
    seen._read_on(300, offsets(9, 6), offsets(6, 5))
    assert seen.read_up_to == 100
    seen._read_on(400, offsets(9, 9), offsets(9, 6))
    assert seen.read_up_to == 100
    seen._read_on(500, offsets(9, 9), offsets(9, 9))
    assert seen.read_up_to == 500


def test_lag_that_grows_while_nothing_commits_ends_the_process() -> None:
    seen = watch({0})
    seen._judge(0, offsets(5, 0), offsets(3, 0))
    seen._judge(50, offsets(6, 0), offsets(3, 0))
    with pytest.raises(Stalled, match=r"f\.events, partition 0: 4 records behind"):
        seen._judge(61, offsets(7, 0), offsets(3, 0))


def test_no_stall_is_lag_that_stays_a_commit_or_what_another_worker_has() -> None:
    seen = watch({0})
    for now in (0, 100, 200):
        seen._judge(now, offsets(5, 0), offsets(3, 0))
    for now in range(300, 600, 50):
        seen._judge(now, offsets(now, 0), offsets(now - 50, 0))
    elsewhere = watch({1})
    for now in (0, 100, 200):
        elsewhere._judge(now, offsets(5 + now, 0), offsets(3, 0))


def test_a_worker_that_has_nothing_ends_where_a_partition_is_nobodys() -> None:
    seen = watch(set())
    seen._judge(0, offsets(5, 0), offsets(3, 0))
    with pytest.raises(Stalled):
        seen._judge(61, offsets(7, 0), offsets(3, 0))
