"""The text of Kafka's two settings files."""

from collections.abc import Mapping
from pathlib import Path

from linkspan.broker.ports import HOST

_THREADS = {"num.network.threads": "2", "num.io.threads": "4", "background.threads": "2"}
LOG_BYTES = 10_000_000  # a log file's size; three are kept


def server_properties(
    port: int, controller_port: int, logs: Path, own: Mapping[str, str], more: Mapping[str, int] | None = None
) -> str:
    """One KRaft node that is broker and controller, plaintext on the loopback address alone; `own` settings win.

    `more`: further listeners for clients, security protocol and port; what they need stands in `own`.

    Internal topics get 4 partitions instead of 50 and the log cleaner 16 MB instead of 128: so the first consumer group
    and transaction start faster, and the whole takes less memory. After a kill the controller takes the broker back
    only when its old session has ended: in 3 s instead of 9.
    """
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}{_further(more)}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}{_further(more)}",
        "listener.security.protocol.map": ",".join(f"{one}:{one}" for one in ("PLAINTEXT", *(more or ())))
        + ",CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(logs),
        "auto.create.topics.enable": "false",
        "default.replication.factor": "1",
        "min.insync.replicas": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "4",
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        "group.initial.rebalance.delay.ms": "0",
        "log.cleaner.dedupe.buffer.size": "16777216",
        **_THREADS,
    }
    return "".join(f"{name}={_escaped(value)}\n" for name, value in {**settings, **own}.items())


def _further(more: Mapping[str, int] | None) -> str:
    return "".join(f",{protocol}://{HOST}:{port}" for protocol, port in (more or {}).items())


def logging_properties(folder: Path) -> str:
    """`java.util.logging` (by slf4j-jdk14) into `server-0.log` in the folder, new at each start; -1, -2 are older."""
    return "\n".join(
        (
            "handlers=java.util.logging.FileHandler",
            ".level=INFO",
            "org.apache.kafka.common.config.AbstractConfig.level=WARNING",
            "java.util.logging.FileHandler.level=INFO",
            f"java.util.logging.FileHandler.pattern={_escaped(str(folder).replace('%', '%%'))}/server-%g.log",
            f"java.util.logging.FileHandler.limit={LOG_BYTES}",
            "java.util.logging.FileHandler.count=3",
            "java.util.logging.FileHandler.append=false",
            "java.util.logging.FileHandler.formatter=java.util.logging.SimpleFormatter",
            "java.util.logging.SimpleFormatter.format=%1$tF %1$tT.%1$tL %4$s %5$s [%3$s]%6$s%n",
            "",
        )
    )


def _escaped(value: str) -> str:
    """A value for a Java properties file, which is Latin-1 with escapes."""
    escaped = value.replace("\\", "\\\\").replace("\n", "\\n")
    return "".join(sign if " " <= sign <= "~" else f"\\u{ord(sign):04x}" for sign in escaped)
