"""One Kafka broker as a child of this Python process."""

import base64
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from linkspan.broker import jars, ports, probe
from linkspan.broker.datadir import DataDir, DataLock, Record
from linkspan.broker.errors import BrokerError
from linkspan.broker.java import base_archive, find_java
from linkspan.broker.locked import KAFKA_VERSION
from linkspan.broker.process import Process, Program, last_words
from linkspan.broker.settings import logging_properties, server_properties

POLL_SECONDS = 0.05


class EmbeddedKafka:
    """Apache Kafka, one KRaft node on 127.0.0.1, whose data outlives it in `data_dir`. Also a context manager.

    `port` None takes the directory's last port where that is free, else chooses one outside the system's ephemeral
    range; once started, the object keeps its port. `properties` are Kafka's server settings, over the defaults of
    `server_properties`; `listeners` are further ones beside the plaintext one (security protocol and port); `scram` are
    users of a new directory, as `kafka-storage --add-scram` takes them. `heap` is Java's `-Xmx`; the whole
    process takes about 200 MB at first. Times are in seconds. Not for use by two threads at once.

    Where the main thread starts it (on Linux), it is told to stop when this process dies, however that dies; elsewhere
    when Python exits in order.
    """

    def __init__(  # noqa: PLR0913
        self,
        data_dir: Path,
        port: int | None = None,
        *,
        properties: Mapping[str, str] | None = None,
        listeners: Mapping[str, int] | None = None,
        scram: Sequence[str] = (),
        heap: str = "512m",
        start_timeout: float = 90.0,
        stop_timeout: float = 30.0,
    ) -> None:
        self._data = DataDir(data_dir)
        self._port = port
        self._properties = dict(properties or {})
        self._listeners, self._scram = dict(listeners or {}), list(scram)
        self._heap = heap
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._lock = DataLock(self._data)
        self._program: Program | None = None
        self._process: Process | None = None

    @property
    def data_dir(self) -> Path:
        return self._data.path

    @property
    def log(self) -> Path:
        """Kafka's log of the last start."""
        return self._data.log / "server-0.log"

    @property
    def port(self) -> int:
        """Raises RuntimeError before the first start where none was given."""
        if self._port is None:
            raise RuntimeError("the port is known once the broker was started")
        return self._port

    @property
    def bootstrap(self) -> str:
        """`127.0.0.1:port`, for clients."""
        return f"{ports.HOST}:{self.port}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.exit_code is None

    @property
    def pid(self) -> int:
        """Java's process id; raises RuntimeError where it is not running."""
        if self._process is None or not self.running:
            raise RuntimeError("the broker is not running")
        return self._process.pid

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Starts Kafka on its directory and waits until it answers clients; does nothing where it runs.

        Raises:
            BrokerError: no Java or jars, the port or the directory cannot be had, or Kafka ended before it answered.
        """
        if self.running:
            return self
        self._forget()
        record = self._data.prepare()
        self._lock.acquire()
        try:
            port, controller_port = self._choose_ports(record)
            program = self._installed()
            self._configure(program, record, port, controller_port)
            self._process = Process.spawn(program, self._data, self._lock.fileno())
            self._wait(self._process, port)
        except BaseException:
            self.kill()
            raise
        self._port = port
        return self

    def stop(self) -> None:
        """Stops Kafka in order, by force after `stop_timeout`. Does nothing where it does not run.

        The first stop of an installation takes 4 s longer: it writes the class archive that makes later starts faster.
        """
        if self._process is not None and self._process.stop(self._stop_timeout) and self._program is not None:
            self._program.keep_archive(self._data)
        self._forget()

    def kill(self) -> None:
        """SIGKILL, as a crash would be; the data stays. Does nothing where it does not run."""
        if self._process is not None:
            self._process.kill()
        self._forget()

    def why_ended(self) -> str:
        """One line on a broker that ended by itself."""
        return f"the broker has ended: {self._words(self._process)}"

    def _forget(self) -> None:
        self._process = None
        self._lock.release()

    def _words(self, process: Process | None) -> str:
        return last_words(self.log, self._data.log / "java.log", since=process.started if process else 0.0)

    def _choose_ports(self, record: Record | None) -> tuple[int, int]:
        port = self._port
        if port is not None:
            ports.require_free(port)
        elif record is not None and ports.is_free(record.port):
            port = record.port
        else:
            port = ports.choose()
        if record is not None and record.controller_port != port and ports.is_free(record.controller_port):
            return port, record.controller_port
        return port, ports.choose(port)

    def _installed(self) -> Program:
        java = find_java()
        cache = jars.cache_dir()
        class_path = jars.class_path(cache)
        self._program = Program(java, class_path, cache, base_archive(java, cache), self._heap)
        return self._program

    def _configure(self, program: Program, record: Record | None, port: int, controller_port: int) -> None:
        settings = server_properties(port, controller_port, self._data.kafka, self._properties, self._listeners)
        self._data.properties.write_text(settings, encoding="ascii")
        self._data.logging.write_text(logging_properties(self._data.log), encoding="ascii")
        if record is None:
            program.format(self._data, base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("="), self._scram)
            self._data.write(Record(KAFKA_VERSION, self._data.cluster_id(), port, controller_port))
        else:
            self._data.move_ports(record, port, controller_port)

    def _wait(self, process: Process, port: int) -> None:
        give_up = time.monotonic() + self._start_timeout
        while not (ports.is_listening(port) and probe.answers(port)):
            if process.exit_code is not None:
                ports.require_free(port)
                raise BrokerError(
                    f"the broker ended while it started (exit code {process.exit_code}): {self._words(process)}"
                )
            if time.monotonic() > give_up:
                raise BrokerError(f"the broker does not answer after {self._start_timeout:g} s: {self._words(process)}")
            time.sleep(POLL_SECONDS)
