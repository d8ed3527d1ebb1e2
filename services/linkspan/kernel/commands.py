"""Commands: what somebody wants done, as records of the control topic."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import uuid_utils

from linkspan.kernel.codec import RecordCodec
from linkspan.kernel.message import now_micros
from linkspan.kernel.schemas import SchemaCatalog

REDRIVE, DISCARD, PAUSE, RESUME, RESET_BREAKER, FLUSH = (
    "redrive",
    "discard",
    "pause",
    "resume",
    "reset_breaker",
    "flush",
)
LOG_LEVEL, PROFILING, REFUSED = "log_level", "profiling", "refused"
#: Of one partition: its owner carries them out, and an outcome names each.
OF_PARTITION = frozenset({REDRIVE, DISCARD, FLUSH})


def _new_id() -> str:
    return str(uuid_utils.uuid7())


@dataclass(frozen=True, slots=True)
class Command:
    """``partition`` and ``offset`` name a dead letter of ``flow`` by its event, or where a flush ends; -1 where none is
    meant. ``value``: of a log level, a sample rate, or the method of a refused call. ``at``: microseconds since 1970.
    """

    kind: str
    flow: str = ""
    partition: int = -1
    offset: int = -1
    by: str = ""
    reason: str = ""
    destination: str = ""
    value: str = ""
    detailed: bool = False
    role: str = ""
    id: str = field(default_factory=_new_id)
    at: int = field(default_factory=now_micros)

    @property
    def key(self) -> bytes:
        """Of its record."""
        return (self.flow or self.destination).encode()


class CommandCodec:
    def __init__(self, catalog: SchemaCatalog) -> None:
        self._codec = RecordCodec(catalog, "Command")

    def encode(self, command: Command) -> bytes:
        return self._codec.encode(asdict(command))

    def decode(self, value: bytes | None) -> Command:
        """Raises Poison."""
        return Command(**self._codec.decode(value))
