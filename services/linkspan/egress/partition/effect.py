"""What the state of a partition wants recorded."""

from __future__ import annotations

import msgspec

from linkspan.egress.partition.lanes import Message
from linkspan.kernel.errors import DeliveryError, Expired
from linkspan.kernel.records.fact import Fact


class Record(msgspec.Struct, frozen=True):
    """Append this outcome; when it is acked, say so with ``outcome_acked``.

    ``dead_lettered`` and ``held``: copy the message to ``parked`` first. ``hold``: it begins, extends, releases or ends
    the hold of its key. ``control``: the command that it carries out, -1 where none. ``until``: it is about all events
    before that offset, which retention took; -1 where it is about one. ``flushed``: the message is given up unfinished,
    as one of many that the command means.
    """

    message: Message
    kind: str
    error: DeliveryError | None = None
    hold: bool = False
    control: int = -1
    until: int = -1
    flushed: bool = False

    @classmethod
    def gone(cls, first: int, until: int) -> Record:
        """Events that retention deleted before they were delivered."""
        error = Expired(f"retention deleted the events from {first} to {until - 1} before they were delivered")
        return cls(Message(first, None, None), "expired", error, until=until)

    def fact(self, epoch: int, parked: int = -1, at: int = 0) -> Fact:
        """As it will stand in the log."""
        message = self.message
        return Fact(
            self.kind,
            message.offset,
            epoch,
            message.key,
            self.hold,
            parked,
            self.control,
            message.id,
            message.digest,
            at,
            accepted=message.accepted_at,
            flushed=self.flushed,
        )
