"""Kafka by TLS: whoever we are, by password or by certificate; and a password that changes while clients live."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaError
from pydantic import SecretStr
from tests.authority import Authority
from tests.integration.tls.secured import MARKED, USER, secured_kafka
from tests.kafka_fixture import require_embedded

from linkspan.broker import EmbeddedKafka
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.kafka.security import Mechanism, Security
from linkspan.kernel.secret import FileSecret

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]
PASSWORD = MARKED["LINKSPAN_KAFKA_SASL_PASSWORD"]


class Place:
    def __init__(self, folder: Path) -> None:
        self.folder, self.authority = folder, Authority(folder)
        self.kafka: EmbeddedKafka
        self.kafka, self.listeners = secured_kafka(folder, self.authority)

    def at(self, listener: str) -> str:
        return f"127.0.0.1:{self.listeners[listener]}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    require_embedded()
    made = Place(tmp_path_factory.mktemp("kafka-secured"))
    made.kafka.start()
    yield made
    made.kafka.kill()


@pytest.fixture(autouse=True)
def believed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINKSPAN_CA", str(place.authority.ca))


async def round_trip(clients: KafkaClients) -> bytes | None:
    topic = TopicPartition("t" + secrets.token_hex(6), 0)
    admin, producer, reader = clients.admin(), clients.producer(), clients.reader()
    try:
        await admin.start()
        await admin.create_topics([NewTopic(topic.topic, 1, 1)])
        await producer.start()
        await producer.send_and_wait(topic.topic, b"there", partition=0)
        await reader.start()
        reader.assign([topic])
        return await next_value(reader)
    finally:
        await asyncio.gather(admin.close(), producer.stop(), reader.stop())


async def next_value(reader: AIOKafkaConsumer) -> bytes | None:
    async with asyncio.timeout(60):
        value: bytes | None = (await reader.getone()).value
        return value


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_a_password_by_tls(place: Place, mechanism: Mechanism) -> None:
    right = Security(True, mechanism, USER, SecretStr(PASSWORD))
    assert await round_trip(KafkaClients(place.at("SASL_SSL"), right)) == b"there"
    wrong = Security(True, mechanism, USER, SecretStr("marked-wrong-password"))
    with pytest.raises(KafkaError) as raised:
        await round_trip(KafkaClients(place.at("SASL_SSL"), wrong))
    assert "marked" not in str(raised.value) + repr(wrong)


async def test_a_client_certificate_by_tls(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    clients = KafkaClients(place.at("SSL"), Security(True))
    with pytest.raises(KafkaError):
        await round_trip(clients)
    for name, file in zip(("CERT", "KEY"), place.authority.issue("a-client"), strict=True):
        monkeypatch.setenv(f"LINKSPAN_CLIENT_{name}", str(file))
    assert await round_trip(clients) == b"there"


async def test_a_client_that_lives_takes_the_password_of_its_next_connection(place: Place) -> None:
    file = place.folder / "password"
    file.write_text(PASSWORD)
    clients = KafkaClients(place.at("SASL_SSL"), Security(True, "PLAIN", USER, FileSecret(file)))
    topic = TopicPartition("t" + secrets.token_hex(6), 0)
    admin, reader, producer = clients.admin(), clients.reader(), clients.producer()
    await admin.start()
    await admin.create_topics([NewTopic(topic.topic, 1, 1)])
    await reader.start()
    await producer.start()
    try:
        reader.assign([topic])
        await producer.send_and_wait(topic.topic, b"before", partition=0)
        assert await next_value(reader) == b"before"
        file.write_text("no more the password")
        await asyncio.to_thread(place.kafka.kill)
        await asyncio.to_thread(place.kafka.start)
        sent = asyncio.ensure_future(producer.send_and_wait(topic.topic, b"after", partition=0))
        done, _ = await asyncio.wait({sent}, timeout=3)
        assert not done
        file.write_text(PASSWORD)
        await asyncio.wait_for(sent, 60)
        assert await next_value(reader) == b"after"
    finally:
        await asyncio.gather(admin.close(), producer.stop(), reader.stop())
