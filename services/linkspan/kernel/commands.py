"""Commands: what operators want done, as records of the control topic."""

from __future__ import annotations

from dataclasses import dataclass

import uuid_utils

from linkspan.kernel.codec import RecordCodec
from linkspan.kernel.message import now_micros
from linkspan.kernel.schemas import SchemaCatalog

REDRIVE, DISCARD = "redrive", "discard"


@dataclass(frozen=True, slots=True)
class Command:
    """``partition`` and ``offset`` name a dead letter of ``flow`` by its event; -1 where none is meant."""

    kind: str
    flow: str
    partition: int
    offset: int
    by: str
    reason: str


class CommandCodec:
    def __init__(self, catalog: SchemaCatalog) -> None:
        self._codec = RecordCodec(catalog, "Command")

    def encode(self, command: Command) -> bytes:
        return self._codec.encode(
            {
                "id": str(uuid_utils.uuid7()),
                "kind": command.kind,
                "flow": command.flow,
                "partition": command.partition,
                "offset": command.offset,
                "by": command.by,
                "reason": command.reason,
                "at": now_micros(),
            }
        )

    def decode(self, value: bytes | None) -> Command:
        """Raises Poison."""
        found = self._codec.decode(value)
        return Command(found["kind"], found["flow"], found["partition"], found["offset"], found["by"], found["reason"])
