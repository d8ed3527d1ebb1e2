"""What insight says is what the log says, whatever happened to the workers."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from aiokafka import TopicPartition
from tests.integration.insight.conftest import Start
from tests.integration.insight.logbook import ANSWERS, ASKS, Logbook, until
from tests.integration.insight.traffic import MINUTE, traffic
from tests.integration.insight.worker import SESSION

from linkspan.kernel.kafka.reading import read_all
from linkspan.kernel.message import now_micros
from linkspan.kernel.topics import FlowTopics, Headers
from linkspan.readmodel.account import Span, account
from linkspan.readmodel.windows import flow_windows

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]
RANK = {"waiting": 0, "overdue": 1, "late": 2, "answered": 2}
WITHIN = 5 * MINUTE


async def events(log: Logbook, flow: str) -> list[tuple[str, str, int]]:
    """(correlation id, message id, accepted at) of all that stand in the log."""
    found: list[tuple[str, str, int]] = []

    def take(record: Any) -> None:
        said = {name: value.decode() for name, value in record.headers}
        found.append((said[Headers.CORRELATION_ID], said[Headers.MESSAGE_ID], int(said[Headers.ACCEPTED_AT])))

    reader = log.clients.reader()
    await reader.start()
    try:
        for number in range(log.partitions):
            await read_all(reader, TopicPartition(FlowTopics.of(log.name, flow).events, number), 0, None, take)
    finally:
        await reader.stop()
    return found


async def expected_states(log: Logbook) -> dict[str, str]:
    """Counted by hand from the events of both flows."""
    asked: dict[str, int] = {}
    answered: dict[str, int] = {}
    for found, flow in ((asked, ASKS), (answered, ANSWERS)):
        for about, _, at in await events(log, flow):
            found[about] = min(at, found.get(about, at))
    states = {}
    for about, at in asked.items():
        if about in answered:
            states[about] = "answered" if answered[about] <= at + WITHIN else "late"
        else:
            states[about] = "overdue" if at + WITHIN < now_micros() else "waiting"
    return states


def told_states(records: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
    """The furthest of each, as the ledger takes them."""
    return {about: max((one["state"] for one in said), key=RANK.__getitem__) for about, said in records.items()}


async def told_counts(log: Logbook) -> dict[str, Counter[str]] | None:
    """Of the last quarter of an hour, by flow and kind; None while a partition is nobody's or something is not read."""
    found = flow_windows(await log.windows(), now_micros())
    if set(found) != {ASKS, ANSWERS}:
        return None
    if any(one.behind or one.partitions != set(range(log.partitions)) for one in found.values()):
        return None
    return {flow: +one.windows[900].counts for flow, one in found.items()}


async def test_windows_and_conversations_are_those_of_the_log_after_kills_and_rebalances(
    log: Logbook, start: Start
) -> None:
    async with traffic(log):
        first, second = await asyncio.gather(start(), start())
        await asyncio.gather(first.ready(), second.ready())
        await asyncio.sleep(4)
        await first.kill()
        third = await start()
        await third.ready()
        await asyncio.sleep(SESSION)
        assert await second.stop() == 0
        await asyncio.sleep(3)
        await third.kill()
        last = await start()
        await last.ready()
    wanted = {flow: +counts for flow, counts in log.counted.items()}
    assert min(counts["delivered"] for counts in wanted.values()) > 300

    async def counted() -> bool:
        return await told_counts(log) == wanted

    try:
        await until(counted, 60)
    except AssertionError:
        assert await told_counts(log) == wanted
    for flow, counts in wanted.items():
        audited = (await account(log.clients, log.name, flow, log.partitions, Span())).counts
        assert audited.accepted == counts["accepted"]
        assert {kind: count for kind, count in audited.statuses.items() if count} == {
            kind: count for kind, count in counts.items() if kind in audited.statuses
        }

    async def heard() -> bool:
        return told_states(await log.conversations()) == await expected_states(log)

    try:
        await until(heard, 60)
    except AssertionError:
        assert told_states(await log.conversations()) == await expected_states(log)
    assert Counter(told_states(await log.conversations()).values()).keys() == RANK.keys()
