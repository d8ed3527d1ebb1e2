"""The plan manager's change feed, polled: with its webhook pointing nowhere, every upload is an event all the same."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
import yaml
from aiokafka import AIOKafkaConsumer, TopicPartition
from tests.integration.ingress.polling import SHORT
from tests.integration.ingress.site import Replica
from tests.integration.reference.conftest import A
from tests.integration.reference.reference_service import API_KEY, SECRET, Service, running
from tests.kafka_fixture import Kafka

from linkspan import reference
from linkspan.ingress.accept.cursor import Cursor
from linkspan.kernel.codec import Decoder
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.schemas import packaged_schemas
from linkspan.kernel.spec_file import catalog_for, load_integration
from linkspan.kernel.topics import Headers, sources_topic

pytestmark = pytest.mark.kafka
SAID = {"identifier": "T-1", "title": "Tower", "category": "office", "fileName": "t.ifc"}


def polling_integration(folder: Path, url: str) -> tuple[Path, dict[str, str]]:
    """The reference integration under a name of its own, with ``poll`` as the docs say."""
    spec = yaml.safe_load((Path(reference.__file__).parent / "integration.yaml").read_text())
    name = "plans" + secrets.token_hex(4)
    own = folder / "schemas" / name
    own.mkdir(parents=True)
    for schema in (packaged_schemas() / "plans").glob("*.avsc"):
        (own / schema.name).write_text(schema.read_text().replace("plans.payload", f"{name}.payload"))
    spec |= {"integration": name, "schemas": "schemas"}
    spec["systems"]["plan-manager"]["poll"] = {
        "path": "/v1/changes",
        "every": "300ms",
        "limit": 2,
        "query": {"content": "true"},
        "id": "messageId",
    }
    for flow in spec["flows"].values():
        del flow["examples"]
    path = folder / "integration.yaml"
    path.write_text(yaml.safe_dump(spec, sort_keys=False))
    environ = {"SYSTEM_A_ENDPOINT": url, "SYSTEM_A_CLIENT_ID": "linkspan", "SYSTEM_A_CLIENT_SECRET": SECRET}
    return path, environ | {"SYSTEM_B_ENDPOINT": "ws://127.0.0.1:9", "SYSTEM_B_API_KEY": API_KEY}


@asynccontextmanager
async def ingress(path: Path, environ: dict[str, str], kafka: Kafka) -> AsyncIterator[Replica]:
    site: Any = SimpleNamespace(file=path, folder=path.parent, bootstrap=kafka.bootstrap, blobs=path.parent / "blobs")
    one = Replica(site, **environ)
    try:
        yield await one.ready()
    finally:
        one.kill()


async def records(bootstrap: str, topic: str, partitions: int, count: int) -> list[Any]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, number) for number in range(partitions)])
        found: list[Any] = []
        async with asyncio.timeout(40):
            while len(found) < count:
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    found += batch
        for batch in (await consumer.getmany(timeout_ms=1000)).values():
            found += batch
        return found
    finally:
        await consumer.stop()


async def cursor_is(kafka: Kafka, integration: str, wanted: str) -> None:
    """Or a restart would ask for what it has once more."""
    kept = Cursor(KafkaClients(kafka.bootstrap), sources_topic(integration), "plan-manager")
    async with asyncio.timeout(60):
        while await kept.read() != wanted:  # noqa: ASYNC110 - Kafka does not tell
            await asyncio.sleep(0.2)


async def test_uploads_come_by_polling_in_order_with_their_ids(
    kafka: Kafka, tmp_path: Path, session: aiohttp.ClientSession, token: Any
) -> None:
    """Over a restart of ingress; tokens last a second, so that they are renewed meanwhile."""
    nowhere = ["--ingress-url", "http://127.0.0.1:9", "--token-lifetime", "1"]
    with running(Service(*A, tmp_path / "data", nowhere)) as a:
        path, environ = polling_integration(tmp_path, a.url)
        integration = load_integration(path, environ)
        topic = f"{integration.integration}.plan-uploaded.events"
        plan, stored = str(uuid.uuid4()), []

        async def upload(content: bytes) -> None:
            while True:
                headers, url = await token(a), f"{a.url}/v1/plans/{plan}"
                async with session.put(url, params=SAID, data=content, headers=headers) as answer:
                    if answer.status != 401:  # the token was over before it was used
                        stored.append(await answer.json())
                        return

        for number in range(5):
            await upload(b"revision %d" % number)
        async with ingress(path, environ | SHORT, kafka):
            await records(kafka.bootstrap, topic, 8, 5)
            await asyncio.sleep(1.5)
            await upload(b"x" * 300_000)
            await records(kafka.bootstrap, topic, 8, 6)
            async with session.get(f"{a.url}/v1/changes?limit=1000", headers=await token(a)) as answer:
                await cursor_is(kafka, integration.integration, str((await answer.json())["next"]))
        async with ingress(path, environ | SHORT, kafka):
            await upload(b"the last")
            found = await records(kafka.bootstrap, topic, 8, 7)
    assert len(found) == 7
    decoder = Decoder.of_events(catalog_for(integration), integration.integration, ["PlanUploaded"])
    events = [decoder.decode(record.value)[1] for record in found]
    assert [event["header"]["messageId"] for event in events] == [one["messageId"] for one in stored]
    assert [event["metadata"]["correlationId"] for event in events] == [one["correlationId"] for one in stored]
    contents = [event["payload"]["content"] for event in events]
    assert contents[:5] == [b"revision %d" % number for number in range(5)]
    assert contents[5]["size"] == 300_000
    traces = [dict(record.headers)[Headers.TRACEPARENT].decode()[3:35] for record in found]
    assert traces[0] == stored[0]["revisions"][0]["traceparent"][3:35]
