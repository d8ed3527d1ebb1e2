"""Real brokers with listeners that the product's own embedded broker does not need: behind a proxy, and three of one
quorum."""

from __future__ import annotations

import base64
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from linkspan.broker import EmbeddedKafka
from linkspan.broker.datadir import Record
from linkspan.broker.locked import KAFKA_VERSION
from linkspan.broker.ports import HOST, choose
from linkspan.broker.process import Program
from linkspan.broker.settings import logging_properties, server_properties

#: Sessions shorter than Kafka's six seconds, so that a test is.
QUICK = {"group.min.session.timeout.ms": "1000"}


class Node(EmbeddedKafka):
    """Its controller's port is known before it starts, and so may be the cluster's id."""

    def __init__(
        self, data_dir: Path, port: int, controller_port: int, properties: dict[str, str], cluster: str | None = None
    ) -> None:
        super().__init__(data_dir, port, properties=QUICK | properties, heap="384m")
        self._controller = controller_port
        self._cluster = cluster or base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")

    def _choose_ports(self, _record: Record | None) -> tuple[int, int]:
        return self.port, self._controller

    def _configure(self, program: Program, record: Record | None, port: int, controller_port: int) -> None:
        settings = server_properties(port, controller_port, self._data.kafka, self._properties)
        self._data.properties.write_text(settings, encoding="ascii")
        self._data.logging.write_text(logging_properties(self._data.log), encoding="ascii")
        if record is None:
            program.format(self._data, self._cluster)
            self._data.write(Record(KAFKA_VERSION, self._cluster, port, controller_port))


def behind(data_dir: Path, proxy_port: int) -> tuple[Node, str]:
    """A broker with two addresses: its ``bootstrap``, for the test itself, and one that says of itself that it is at
    ``proxy_port``. The second result is where that one really is. Not started yet."""
    port = choose(proxy_port)
    controller = choose(proxy_port, port)
    upstream = choose(proxy_port, port, controller)
    protocols = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT"
    properties = {
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller},PROXIED://{HOST}:{upstream}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port},PROXIED://{HOST}:{proxy_port}",
        "listener.security.protocol.map": protocols,
    }
    return Node(data_dir, port, controller, properties), f"{HOST}:{upstream}"


def quorum(folder: Path, size: int = 3) -> list[Node]:
    """Brokers that are each other's controllers; internal topics have a copy on each. Not started yet."""
    ports: list[int] = []
    for _ in range(2 * size):
        ports.append(choose(*ports))
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    voters = ",".join(f"{number + 1}@{HOST}:{ports[size + number]}" for number in range(size))
    copies, enough = str(size), str(size - 1)
    shared = {
        "controller.quorum.voters": voters,
        "default.replication.factor": copies,
        "min.insync.replicas": enough,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": enough,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": enough,
        "replica.lag.time.max.ms": "5000",
    }
    return [
        Node(
            folder / f"node-{number + 1}",
            ports[number],
            ports[size + number],
            shared | {"node.id": str(number + 1)},
            cluster,
        )
        for number in range(size)
    ]


def start_all(nodes: list[Node]) -> str:
    """Together, as none answers before most of them are there; their addresses."""
    with ThreadPoolExecutor(len(nodes)) as threads:
        list(threads.map(lambda node: node.start(), nodes))
    return ",".join(node.bootstrap for node in nodes)
