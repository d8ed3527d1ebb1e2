"""Where the group stands in ``events``, and with it from where ``outcomes`` must be read back.

A commit is a pair: all events below its offset are finished; all outcomes about the others stand at or above the
outcomes offset in its metadata. Such a pair stays true for ever, since later outcomes stand above: an old or late
commit costs reading, never a repeat. Without metadata (no commit, expired, or set by a tool) outcomes are read from
their beginning. A search by time instead would trust the clocks of two machines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from linkspan.egress.own.clients import KafkaClients

_METADATA = re.compile(r"outcomes=(\d+)")


@dataclass(frozen=True, slots=True)
class Position:
    """``events``: None where nothing was committed: then the log's beginning."""

    events: int | None
    outcomes: int

    def committable(self) -> OffsetAndMetadata:
        return OffsetAndMetadata(self.events, f"outcomes={self.outcomes}")


async def committed_position(clients: KafkaClients, group: str, partition: TopicPartition) -> Position:
    """Raises KafkaError. (A consumer's ``committed()`` hides the metadata.)"""
    admin = clients.admin()
    try:
        await admin.start()
        found = await admin.list_consumer_group_offsets(group, partitions=[partition])
    except (AttributeError, OSError) as error:  # aiokafka 0.14 looks for an error code where there is none
        raise KafkaError(f"the offsets of {group} cannot be read: {error!r}") from error
    finally:
        await admin.close()
    if partition not in found:
        raise KafkaError(f"the coordinator of {group} is not ready")
    offset, metadata = found[partition]
    if offset < 0:
        return Position(None, 0)
    match = _METADATA.fullmatch(metadata or "")
    return Position(offset, int(match[1]) if match else 0)
