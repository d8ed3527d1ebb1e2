"""`linkspan topics` makes what is missing, names what differs, and changes nothing that exists."""

import asyncio
import shutil
import socket
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from tests.kafka_fixture import Kafka

from linkspan.broker.ports import choose
from linkspan.cli.main import main
from linkspan.kernel.errors import KafkaAway
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_file import load_integration
from linkspan.kernel.topic_admin import check_topics, ensure_topics
from linkspan.kernel.topics import FlowTopics, all_topics

ORDERS = Path(__file__).parents[1] / "unit/transform/orders"


class Done(NamedTuple):
    code: int
    out: str
    err: str


Topics = Callable[..., Done]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The orders integration under a name of this test's own; topics outlive it."""
    path = Path(shutil.copytree(ORDERS, tmp_path / "orders")) / "integration.yaml"
    name = f"t{uuid.uuid4().hex[:12]}"
    path.write_text(path.read_text().replace("integration: orders", f"integration: {name}"))
    return path


@pytest.fixture
def spec(file: Path) -> Integration:
    return load_integration(file, {})


@pytest.fixture
def topics(file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Topics:
    """The command, in this process; `topics(kafka.bootstrap, "--check")`."""

    def run(bootstrap: str, *arguments: str) -> Done:
        monkeypatch.setenv("MESSAGE_QUEUE_URL", f"kafka://{bootstrap}")
        monkeypatch.setattr(sys, "argv", ["linkspan", "topics", str(file), *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        return Done(int(left.value.code or 0), *capsys.readouterr())

    return run


def create(bootstrap: str, topic: NewTopic) -> None:
    async def made() -> None:
        client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await client.start()
        try:
            answer = await client.create_topics([topic])
            assert [code for _, code, _ in answer.topic_errors] == [0]
        finally:
            await client.close()

    asyncio.run(made())


@pytest.mark.kafka
def test_missing_topics_are_made_and_a_second_run_finds_them_right(
    kafka: Kafka, topics: Topics, spec: Integration
) -> None:
    names = [topic.name for topic in all_topics(spec)]
    assert len(names) == 2 * 6 + 6
    before = topics(kafka.bootstrap, "--check")
    assert before.code == 1
    assert before.out.splitlines() == [f"{name}: is missing" for name in names]
    made = topics(kafka.bootstrap)
    assert (made.code, made.err) == (0, "")
    assert made.out.splitlines() == [*(f"created {name}" for name in names), "all topics are as they should be"]
    for arguments in ((), ("--check",)):
        assert topics(kafka.bootstrap, *arguments) == Done(0, "all topics are as they should be\n", "")


@pytest.mark.kafka
def test_what_differs_is_named_and_never_changed(kafka: Kafka, topics: Topics, spec: Integration) -> None:
    events = FlowTopics.of(spec.integration, "order-placed").events
    policies = {"retention.ms": "1000", "cleanup.policy": "compact"}
    create(kafka.bootstrap, NewTopic(events, 5, 1, topic_configs=policies))
    first = topics(kafka.bootstrap)
    assert first.code == 1
    lines = [line for line in first.out.splitlines() if not line.startswith("created ")]
    assert lines[0].startswith(f"{events}: partitions is 5, expected 2; it is never changed")
    assert set(lines[1:]) == {
        f"{events}: cleanup.policy is compact, expected delete",
        f"{events}: retention.ms is 1000, expected {30 * 24 * 3600 * 1000}",
        next(line for line in lines if "max.message.bytes" in line),
    }
    assert first.out.count("created ") == 17
    second = topics(kafka.bootstrap)
    assert (second.code, second.out.splitlines()) == (1, lines)


@pytest.mark.kafka
def test_more_copies_than_brokers_is_a_mistake(kafka: Kafka, topics: Topics) -> None:
    done = topics(kafka.bootstrap, "--replication", "9")
    assert done.code == 2
    assert done.err.startswith("linkspan: replication 9 is asked for, but Kafka at ")
    assert len(done.err.splitlines()) == 1


@pytest.mark.kafka
async def test_several_processes_may_make_them_at_once(kafka: Kafka, spec: Integration) -> None:
    assert await asyncio.gather(*(ensure_topics(kafka.bootstrap, spec) for _ in range(3))) == [[], [], []]
    report = await check_topics(kafka.bootstrap, spec, create=False)
    assert (report.created, report.differences) == ((), ())


def test_a_kafka_that_is_away_is_one_line(topics: Topics) -> None:
    address = f"127.0.0.1:{choose()}"
    done = topics(address)
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith(f"linkspan: Kafka at {address} does not answer")
    assert len(done.err.splitlines()) == 1


async def late_door(port: int, kafka: Kafka, opens: float) -> None:
    """Hands on to Kafka, which then names its own address."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)

    async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, inside = kafka.bootstrap.partition(":")
        theirs, to_them = await asyncio.open_connection(host, int(inside))
        await asyncio.gather(pump(reader, to_them), pump(theirs, writer))

    await asyncio.sleep(opens)
    await (await asyncio.start_server(joined, "127.0.0.1", port)).serve_forever()


@pytest.mark.kafka
def test_a_kafka_that_is_still_starting_is_waited_for(kafka: Kafka, topics: Topics) -> None:
    port = choose()
    assert topics(f"127.0.0.1:{port}").code == 3
    threading.Thread(target=lambda: asyncio.run(late_door(port, kafka, 2)), daemon=True).start()
    done = topics(f"127.0.0.1:{port}", "--wait", "60")
    assert (done.code, done.err) == (0, "")


@pytest.mark.kafka
def test_brokers_that_never_come_are_named_once_the_wait_is_over(kafka: Kafka, topics: Topics) -> None:
    done = topics(kafka.bootstrap, "--replication", "9", "--wait", "1")
    assert done.code == 2
    assert done.err.startswith("linkspan: replication 9 is asked for, but Kafka at ")


@pytest.fixture
def silent() -> Iterator[str]:
    """Somebody listens, and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


async def test_a_kafka_that_never_answers_is_given_up(
    silent: str, spec: Integration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("linkspan.kernel.topic_admin.ANSWER", 1)
    with pytest.raises(KafkaAway, match="does not answer; is it running"):
        async with asyncio.timeout(60):
            await ensure_topics(silent, spec)
