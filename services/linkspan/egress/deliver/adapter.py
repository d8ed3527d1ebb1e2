"""What every way of delivering has in common; ``tests/integration/egress/contract`` holds all adapters to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from linkspan.kernel.crypto.withheld import Secrets
from linkspan.kernel.errors import DeliveryError
from linkspan.kernel.telemetry.traces import UNTRACED, Traced


def always() -> bool:
    """Nothing keeps it from being sent."""
    return True


class Delivery(msgspec.Struct, frozen=True):
    """One attempt. ``sequence`` is the event's offset, rising per key; ``attempt`` counts from 1.

    ``values``: the original payload and header fields, for a path. ``body``: the outgoing message as JSON.
    ``redelivery``: the destination may have it already; ``replay``: the plan that sends it again. ``may_go`` is asked
    right before it is written: False where its partition is not ours any more, or may not be. ``traced``: its span, for
    what the answer says. ``secrets``: what no reason may quote.
    """

    message_id: str
    correlation_id: str | None
    key: str | None
    sequence: int
    redelivery: bool
    traceparent: str
    attempt: int
    values: Mapping[str, Any]
    body: bytes
    may_go: Callable[[], bool] = always
    replay: str | None = None
    traced: Traced = UNTRACED
    secrets: Secrets | None = None


Answered = Callable[[Delivery, DeliveryError | None], None]
"""Called once for each submitted delivery, from the event loop; None: the destination has taken it."""


class Adapter(Protocol):
    """One destination. No method but ``open``, ``close`` and ``check`` waits for anything.

    ``wake`` is called when ``capacity`` rose from zero. An answer is one of ``kernel.errors``: Unavailable (nothing
    reached the destination, or it said "later"), Withheld (``may_go`` said no), Unanswered (it may have), Transient,
    Rejected, Superseded.
    """

    wake: Callable[[], None]
    together: int
    """Deliveries that share one request, at most."""

    async def open(self) -> None:
        """Starts; a destination that is away is no error."""

    def away(self) -> str | None:
        """What keeps its connection from being made, for an adapter that keeps one; None where it has it."""

    def capacity(self) -> int:
        """How many more deliveries may be submitted now."""

    def ask_now(self) -> None:
        """Somebody thinks that it is back: what waits to connect again does so now."""

    def submit(self, delivery: Delivery, answered: Answered) -> None: ...

    async def close(self) -> None:
        """Answers what is in flight as Unanswered, and what was not sent as Unavailable."""

    async def check(self) -> str | None:
        """For ``/health``: None, or what is wrong."""
