"""What one outcome says, as the fold needs it: read from its headers, or known to the owner that wrote it."""

from __future__ import annotations

import msgspec


class Fact(msgspec.Struct):
    """``offset``: of the event, -1 where none is meant. ``hold``: it begins, extends, releases or ends the hold of
    ``key``. ``parked``: where the copy stands; ``control``: the command that it carries out; both -1 where none.

    ``id``, ``digest``: 64 bits of the message id and of the payload, None where the record names none; ``at``: when it
    was recorded, milliseconds since 1970. ``plan``: it is of a replay, and says nothing of the message's own status.
    ``accepted``: when the message was, microseconds since 1970, where it is a dead letter or is given up.
    ``flushed``: the command gives up others too, so that it is not carried out with this one; the event was unfinished.
    """

    kind: str
    offset: int
    epoch: int
    key: bytes | None = None
    hold: bool = False
    parked: int = -1
    control: int = -1
    id: int | None = None
    digest: int = 0
    at: int = 0
    plan: bool = False
    accepted: int = 0
    flushed: bool = False


#: Kinds after which a message needs nothing more, or waits in ``parked``.
FINISHING = frozenset(
    {"delivered", "dead_lettered", "held", "expired", "filtered", "duplicate", "superseded", "discarded"}
)
DELIVERED, ATTEMPT_FAILED = "delivered", "attempt_failed"
DEAD, HELD, DUPLICATE = "dead_lettered", "held", "duplicate"
#: The other ones: about a letter that goes out again or is given up, and a key that is free again.
REDRIVEN, DISCARDED, OPENED = "redriven", "discarded", "opened"
