"""A real Kafka for tests; `LINKSPAN_TEST_KAFKA` says which: `embedded` (the default), `docker` or `host:port`."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any, Protocol

import pytest

from linkspan.broker import EmbeddedKafka

IMAGE = "apache/kafka:4.3.1"
# The test host reaches containers by their published ports, and no reaper image is pulled.
TESTCONTAINERS = {
    "TESTCONTAINERS_RYUK_DISABLED": "true",
    "TESTCONTAINERS_HOST_OVERRIDE": "localhost",
    "TESTCONTAINERS_CONNECTION_MODE": "docker_host",
}


class Kafka(Protocol):
    """What a test may count on. An embedded one is an `EmbeddedKafka`: it can `stop`, `start` and `kill` too."""

    @property
    def bootstrap(self) -> str: ...


class External:
    """A Kafka that this test run did not start, or cannot stop and start again."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap


def choice() -> str:
    return os.environ.get("LINKSPAN_TEST_KAFKA") or "embedded"


def require_embedded() -> None:
    """Skips a test that stops, kills or configures its broker where the run has another kind."""
    if choice() != "embedded":
        pytest.skip(f"stops or configures its own broker: needs LINKSPAN_TEST_KAFKA=embedded, not {choice()}")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """The run's Kafka; topics are not created by themselves and outlive a test, so each test names its own."""
    if choice() == "embedded":
        # Nobody kills it: it is not taken for dead when it stands still for 3 s.
        with EmbeddedKafka(
            tmp_path_factory.mktemp("kafka"), properties={"broker.session.timeout.ms": "18000"}
        ) as broker:
            yield broker
    elif choice() == "docker":
        yield from _in_docker()
    else:
        yield External(choice())


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Callable[..., EmbeddedKafka]]:
    """`own_broker()` starts a broker for this test alone, to stop or kill; it takes what `EmbeddedKafka` takes."""
    require_embedded()
    brokers: list[EmbeddedKafka] = []

    def start(data_dir: Path | None = None, port: int | None = None, **settings: Any) -> EmbeddedKafka:
        broker = EmbeddedKafka(data_dir or tmp_path / f"broker-{len(brokers)}", port, **settings)
        brokers.append(broker)
        return broker.start()

    yield start
    for broker in brokers:
        broker.kill()


def _in_docker() -> Iterator[Kafka]:
    for name, value in TESTCONTAINERS.items():
        os.environ.setdefault(name, value)
    with _container_class()(IMAGE).with_kraft() as container:
        yield External(container.get_bootstrap_server())


def _container_class() -> Any:
    """testcontainers' Kafka for the Apache image: the stock class knows Confluent's versions and start files only."""
    from testcontainers.community.kafka import KafkaContainer

    class ApacheKafkaContainer(KafkaContainer):
        def _verify_min_kraft_version(self) -> None:
            """Every Apache image runs KRaft."""

        def configure(self) -> None:
            super().configure()
            for name, value in APACHE_SETTINGS.items():
                self.with_env(name, value)

        def tc_start(self) -> None:
            outside = f"{self.listener_name}://{self.get_container_host_ip()}:{self.get_exposed_port(self.port)}"
            script = dedent(
                f"""\
                #!/bin/bash
                export KAFKA_ADVERTISED_LISTENERS={outside},BROKER://$(hostname -i):9092
                exec /etc/kafka/docker/run
                """
            )
            self.create_file(script.encode(), self.TC_START_SCRIPT)

    return ApacheKafkaContainer


# As the embedded broker has it, so that a test means the same on both.
APACHE_SETTINGS = {
    "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "4",
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "4",
    "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": "1",
    "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR": "1",
    "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
}
