"""The data directory: whose it is, which Kafka wrote it, and that one broker at a time uses it."""

import fcntl
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from linkspan.broker.errors import BrokerError
from linkspan.broker.locked import KAFKA_VERSION

RECORD = "linkspan-broker.json"
LOCK = "broker.lock"
OURS = {RECORD, LOCK, "server.properties", "logging.properties", "kafka", "log", "tmp", "classes.jsa"}
PATIENCE_SECONDS = 40.0  # for the broker of a killed parent to end its stop, which may take 30


@dataclass(frozen=True)
class Record:
    """What is kept of the broker beside its data."""

    kafka: str
    cluster_id: str
    port: int
    controller_port: int


class DataDir:
    """Paths in a broker's data directory, its record, and its lock."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.kafka = self.path / "kafka"
        self.log = self.path / "log"
        self.tmp = self.path / "tmp"
        self.properties = self.path / "server.properties"
        self.logging = self.path / "logging.properties"
        self.classes = self.path / "classes.jsa"
        self._record = self.path / RECORD

    def prepare(self) -> Record | None:
        """Makes the directory where it is new; answers the record of an earlier start.

        Raises:
            BrokerError: it cannot be written, holds other things, or was written by another version of Kafka.
        """
        if "," in str(self.path):
            raise BrokerError(f"data directory {self.path} has a comma in its path, where Kafka would split it")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            others = sorted({path.name for path in self.path.iterdir()} - OURS)
            for folder in (self.kafka, self.log, self.tmp) if not others or self._record.exists() else ():
                folder.mkdir(exist_ok=True)
        except OSError as error:
            raise BrokerError(f"data directory {self.path} cannot be used: {error.strerror}") from None
        record = self._read()
        if record is None and others:
            raise BrokerError(
                f"data directory {self.path} holds other things ({others[0]}): give an empty or a new one"
            )
        if record is not None and record.kafka != KAFKA_VERSION:
            raise BrokerError(
                f"data directory {self.path} was written by Kafka {record.kafka}, this is {KAFKA_VERSION}: give another"
            )
        return record

    def _read(self) -> Record | None:
        try:
            return Record(**json.loads(self._record.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise BrokerError(
                f"{self._record} is not a broker's record ({error}): give another data directory"
            ) from None

    def write(self, record: Record) -> None:
        """Writes the record whole or not at all; called once the directory is formatted."""
        part = self.path / (RECORD + ".part")
        part.write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
        part.replace(self._record)

    def move_ports(self, record: Record, port: int, controller_port: int) -> Record:
        """The record with the ports of this start, written where they differ."""
        moved = replace(record, port=port, controller_port=controller_port)
        if moved != record:
            self.write(moved)
        return moved

    def cluster_id(self) -> str:
        """As Kafka's own `meta.properties` has it."""
        for line in (self.kafka / "meta.properties").read_text(encoding="utf-8").splitlines():
            if line.startswith("cluster.id="):
                return line.partition("=")[2]
        raise BrokerError(f"{self.kafka}/meta.properties has no cluster.id: give another data directory")


class DataLock:
    """An advisory lock on the data directory.

    The Java process inherits it (`fileno`), so that it holds for as long as either of the two processes lives.
    """

    def __init__(self, data: DataDir) -> None:
        self._path = data.path / LOCK
        self._data = data.path
        self._handle: int | None = None

    def fileno(self) -> int:
        if self._handle is None:
            raise RuntimeError("the lock is not held")
        return self._handle

    def acquire(self) -> Self:
        """
        Raises:
            BrokerError: another broker uses the directory.
        """
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not _try(handle):
            owner = _number(self._path)
            if owner is None or _lives(owner) or time.monotonic() > give_up:
                os.close(handle)
                by = f" (process {owner})" if owner else ""
                raise BrokerError(
                    f"data directory {self._data} is in use by another running broker{by}: stop it, or give another"
                )
            time.sleep(0.05)
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        self._handle = handle
        return self

    def release(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _try(handle: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _number(path: Path) -> int | None:
    with suppress(OSError, ValueError):
        return int(path.read_text(encoding="ascii"))
    return None


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
