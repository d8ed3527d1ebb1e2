"""What Kafka has is archived once, whatever happens in between, and what it had no more is said."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import aiohttp
import fastavro
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from tests.integration.archive.kept import archive, archived, folder, forget, keeper, listed, segments
from tests.integration.egress.bridge import Bridge, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination, until_async
from tests.integration.egress.plans import read

from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.kafka.gap import leave_out
from linkspan.kernel.topics import all_topics

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]
ORDERS = [(order_id(number % 7), number) for number in range(60)]


@pytest.fixture
async def made(bridge: MakeBridge, rest: RestDestination) -> Bridge:
    return await bridge(rest_system(rest), partitions=2)


async def test_all_that_kafka_has_is_archived_once_and_is_the_same(made: Bridge, rest: RestDestination) -> None:
    rest.reply = lambda got: 422 if got.order == ORDERS[3] else 201
    async with made.serving():
        await made.append(*ORDERS)
        await made.wait_outcomes(60)
    assert "archived 0 records" not in (await archived(made)).out
    assert (await archived(made)).out.startswith("archived 0 records in 0 segments")
    found = await listed(made)
    for topic in ("events", "outcomes", "parked", "state"):
        name = getattr(made.topics, topic)
        records = await read(made, name, made.partitions)
        for number in range(made.partitions):
            kept = found[topic, number]["records"]
            there = {one.key if topic == "parked" else one.offset for one in records[number]}  # the newest of a key
            assert kept == len(there) if topic != "state" else kept > 0
    done = await archive(made, "verify", "-o", "json")
    assert done.code == 0, done
    assert sum(one["compared"] for one in done.json["partitions"]) >= 120


async def test_a_segment_is_an_avro_file_that_any_reader_reads(made: Bridge) -> None:
    await made.append(*ORDERS)
    await archived(made, "--records", "10")
    found = []
    for segment in await segments(made, made.topics.events):
        file = folder(made) / made.integration.integration / made.topics.events / "0" / segment.name
        content = file.read_bytes()
        assert fastavro.is_avro(BytesIO(content))
        found += list(fastavro.reader(BytesIO(content)))
    events = (await read(made, made.topics.events, 1))[0]
    assert [(one["offset"], one["timestamp"], one["key"], one["value"]) for one in found] == [
        (one.offset, one.timestamp, one.key, one.value) for one in events
    ]
    assert [[(x["name"], x["value"]) for x in one["headers"]] for one in found] == [[*one.headers] for one in events]
    assert len(await segments(made, made.topics.events)) == -(-len(events) // 10)


async def test_killed_at_any_time_it_goes_on_and_no_record_is_archived_twice_or_left_out(made: Bridge) -> None:
    await made.append(*((order_id(number), number) for number in range(400)))
    command = (sys.executable, "-m", "linkspan", "archive", "run", str(made.path), "--once", "--records", "10")
    killed = 0
    for wanted in (3, 9):
        process = await keeper(made).started(*command)
        while process.returncode is None and len(list(folder(made).glob("*/*.events/*/*.avro"))) < wanted:  # noqa: ASYNC110 - it does not tell
            await asyncio.sleep(0.005)
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        killed += await process.wait() == -signal.SIGKILL
    assert killed
    await archived(made, "--records", "10")
    assert (await archive(made, "verify")).code == 0
    for number in range(2):
        found = await segments(made, made.topics.events, number)
        assert all(one.end == other.first for one, other in pairwise(found))
        assert sum(one.records for one in found) == len((await read(made, made.topics.events, 2))[number])


async def test_what_retention_took_before_is_said_and_stays_a_hole(made: Bridge) -> None:
    await made.append(*ORDERS[:20])
    await archived(made)
    await made.append(*ORDERS[20:])
    begins = await forget(made, made.topics.events)
    await made.append(*ORDERS[:6])
    done = await archive(made, "run", "--once")
    assert (done.code, "retention was faster than the archive" in done.err) == (1, True)
    assert done.err.count("offsets were gone before they were archived") == 2
    found = await listed(made)
    for number, begin in begins.items():
        (hole,) = found["events", number]["holes"]
        assert hole["end"] == begin
    assert sum(one["end"] - one["first"] for n in range(2) for one in found["events", n]["holes"]) == 40
    assert (await archive(made, "verify")).code == 1
    assert (await archived(made)).out.startswith("archived 0 records"), "it is said once, and goes on"


async def test_offsets_that_hold_no_record_are_no_hole(made: Bridge) -> None:
    events = TopicPartition(made.topics.events, 0)
    await made.append(*ORDERS[:10])
    clients = KafkaClients(made.bootstrap)
    reader = clients.reader()
    await reader.start()
    end = (await reader.end_offsets([events]))[events]
    await reader.stop()
    await archived(made)
    await leave_out(clients, {events: end + 5}, "a test")
    await archived(made)
    await made.append(*ORDERS[10:])
    await archived(made)
    done = await archive(made, "verify", "-o", "json")
    assert done.code == 0, done
    assert [one["holes"] for one in done.json["partitions"]] == [[]] * len(done.json["partitions"])
    assert 0 in {one.records for one in await segments(made, made.topics.events)}, "so that retention takes nothing"


async def test_an_altered_segment_and_another_record_are_found(made: Bridge) -> None:
    await made.append(*ORDERS)
    await archived(made)
    (file,) = folder(made).glob("*/*.events/1/*.avro")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    done = await archive(made, "verify")
    assert (done.code, "was altered: its SHA-256 is not the one of its name" in done.out) == (1, True)
    assert (await archive(made, "verify", "--no-kafka")).code == 1


async def test_topics_that_were_made_anew_are_not_mixed_with_what_is_archived(made: Bridge) -> None:
    await made.append(*ORDERS)
    await archived(made)
    admin = AIOKafkaAdminClient(bootstrap_servers=made.bootstrap)
    await admin.start()
    await admin.delete_topics([made.topics.events])
    async with asyncio.timeout(30):
        while made.topics.events in await admin.list_topics():  # noqa: ASYNC110 - Kafka does not tell
            await asyncio.sleep(0.1)
    await admin.close()
    assert (await keeper(made)("topics", str(made.path))).code == 0
    await made.append(*ORDERS[:4])
    done = await archive(made, "run", "--once")
    assert (done.code, "this is another log" in done.err) == (1, True)


async def test_an_archive_of_another_kafka_is_refused(made: Bridge) -> None:
    await archived(made)
    head = folder(made) / made.integration.integration / "archive.json"
    head.write_text(json.dumps(json.loads(head.read_text()) | {"cluster": "another"}))
    done = await archive(made, "run", "--once")
    assert (done.code, "--adopt" in done.err) == (2, True)
    assert (await archive(made, "run", "--once", "--adopt")).code == 0
    assert (await archive(made, "run", "--once")).code == 0


async def keep_for_ever(made: Bridge) -> None:
    """Or Kafka's retention may take old records before they are archived."""
    admin = AIOKafkaAdminClient(bootstrap_servers=made.bootstrap)
    await admin.start()
    changed = {
        spec.name: {**spec.config, "retention.ms": "-1"}
        for spec in all_topics(made.integration)
        if spec.name in (made.topics.events, made.topics.outcomes)
    }
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, *one) for one in changed.items()])
    await admin.close()


async def test_old_segments_are_deleted_and_outcomes_a_week_later(made: Bridge) -> None:
    now = round(time.time() * 1000)
    await keep_for_ever(made)
    async with AIOKafkaProducer(bootstrap_servers=made.bootstrap) as producer:
        for topic in (made.topics.events, made.topics.outcomes):
            for days in (420, 404, 100, 0):
                stamp = now - days * 86_400_000
                await producer.send_and_wait(topic, b"x", b"k", 0, timestamp_ms=stamp)
    await archived(made, "--records", "1")
    assert "deleted 3" in (await archived(made, "--records", "1", "--keep", "400d")).out
    assert len(await segments(made, made.topics.events)) == 2
    assert len(await segments(made, made.topics.outcomes)) == 3
    assert (await archive(made, "run", "--once", "--keep", "400")).code == 2


@asynccontextmanager
async def running(made: Bridge, *options: str) -> AsyncIterator[str]:
    """Its address."""
    command = (sys.executable, "-m", "linkspan", "archive", "run", str(made.path), "--port", "0")
    process = await keeper(made).started(*command, "--every", "200ms", *options)
    try:
        assert process.stdout
        yield (await asyncio.wait_for(process.stdout.readline(), 60)).decode().split()[1]
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 30) == 0


async def says(address: str, status: int, why: str = "") -> bool:
    async with aiohttp.ClientSession() as session, session.get(address + "/ready") as answer:
        return answer.status == status and why in await answer.text()


async def test_as_a_process_it_closes_segments_by_age_and_tells_its_lag(made: Bridge) -> None:
    async with running(made, "--age", "3s") as address:
        assert await scraped(address, "linkspan_archive_success_timestamp_seconds")
        retention = await scraped(address, "linkspan_archive_retention_seconds")
        assert 'linkspan_archive_retention_seconds{flow="orders",what="events"} 2.592e+06' in retention
        assert await says(address, 200)
        await made.append(*ORDERS[:10])
        lags = []
        while not await segments(made, made.topics.events):
            lags += [one for one in (await scraped(address, "linkspan_archive_lag{")).split("\n") if "events" in one]
            await asyncio.sleep(0.1)
        assert any(not one.endswith(" 0.0") for one in lags), "it waited for its age"


async def has_events(made: Bridge, count: int) -> bool:
    found = [one for number in range(made.partitions) for one in await segments(made, made.topics.events, number)]
    return sum(one.records for one in found) == count


async def test_a_disk_that_is_mounted_no_more_is_said_and_leaves_no_hole(made: Bridge) -> None:
    mounted, elsewhere = folder(made), folder(made).with_name("elsewhere")
    async with running(made, "--age", "1s") as address:
        await made.append(*ORDERS[:10])
        await until_async(lambda: has_events(made, 10))
        mounted.rename(elsewhere)
        mounted.mkdir()
        await made.append(*ORDERS[10:20])
        await until_async(lambda: says(address, 503, "the archive"))
        shutil.rmtree(mounted)
        elsewhere.rename(mounted)
        await until_async(lambda: has_events(made, 20))
        await until_async(lambda: says(address, 200))
    assert (await archive(made, "verify")).code == 0


async def scraped(address: str, begins: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(address + "/metrics") as answer:
        return "\n".join(line for line in (await answer.text()).split("\n") if line.startswith(begins))


async def test_a_place_that_is_away_is_said_in_a_line(made: Bridge, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = await archive(made, "run", "--once", LINKSPAN_ARCHIVE=str(tmp_path / "file"))
    assert (done.code, done.err.count("\n")) == (3, 1), done
    done = await archive(made, "list", LINKSPAN_ARCHIVE=str(tmp_path / "nowhere"))
    assert (done.code, "there is no archive of" in done.err) == (3, True)
