"""The replica that holds a source's connection is cut off from Kafka alone (interleaving 21)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from tests.chaos import fleet
from tests.chaos.fleet import Member
from tests.chaos.nodes import behind
from tests.chaos.receivers import SocketReceiver
from tests.chaos.senders import Senders
from tests.chaos.source import PATH, Source
from tests.chaos.toxiproxy import toxiproxy
from tests.integration.egress.destinations import until
from tests.kafka_fixture import require_embedded

from linkspan.broker.ports import HOST, choose
from linkspan.kernel.topics import FlowTopics, Headers

pytestmark = [pytest.mark.chaos, pytest.mark.kafka, pytest.mark.timeout(300)]

SESSION = {"LINKSPAN_SESSION_SECONDS": "6", "LINKSPAN_APPEND_SECONDS": "3"}
PARTITIONS = 2


async def test_a_cut_off_holder_of_a_source_lets_go_and_its_messages_come_by_the_next_one_in_order(
    tmp_path: Path,
) -> None:
    require_embedded()
    b, source, port = SocketReceiver(tmp_path / "b.jsonl", 1), Source(range(12)), choose()
    b.sources[PATH] = source.hold
    broker, upstream = behind(tmp_path / "kafka", port)
    async with toxiproxy(tmp_path) as proxies:
        await proxies.between("kafka", upstream, port)
        file = fleet.write_integration(tmp_path, choose(), b.port, PARTITIONS)
        cut_off = Member("cut-off", "ingress", file, f"{HOST}:{port}", SESSION)
        other = Member("other", "ingress", file, broker.bootstrap, SESSION)
        try:
            await b.start()
            await asyncio.to_thread(broker.start)
            cut_off.start()
            await until(lambda: len(source.open) == 1, 60)
            holder = set(source.open)
            other.start()
            await other.ready()
            senders = Senders([], 1200, 40, 12)
            sending = asyncio.create_task(source.run(senders))
            await asyncio.sleep(8)
            await proxies.disturb("kafka", "half open")
            await until(lambda: bool(source.open - holder), 60)
            await until(lambda: not source.open & holder, 30)
            await asyncio.sleep(5)
            await proxies.heal("kafka", "half open")
            await asyncio.wait_for(sending, 120)
            events = await read_events(file, broker.bootstrap)
        finally:
            cut_off.kill()
            other.kill()
            broker.kill()
            await b.stop()
    firsts = list(dict.fromkeys(events))
    assert set(firsts) == {one.id for one in senders.accepted}
    place = {message_id: number for number, message_id in enumerate(firsts)}
    for key in {one.key for one in senders.accepted}:
        places = [place[one.id] for one in senders.accepted if one.key == key]
        assert places == sorted(places)


async def read_events(file: Path, bootstrap: str) -> list[str]:
    """Message ids, those of a partition in its order."""
    topic = FlowTopics.of(fleet.name_of(file), "reports").events
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        ends: dict[Any, int] = await consumer.end_offsets(partitions)
        found: list[str] = []
        for partition, end in ends.items():
            while await consumer.position(partition) < end:
                for record in (await consumer.getmany(partition, timeout_ms=500)).get(partition, []):
                    found.append(dict(record.headers)[Headers.MESSAGE_ID].decode())  # noqa: PERF401 - awaits
        return found
    finally:
        await consumer.stop()
