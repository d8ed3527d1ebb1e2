"""What became of a message that was taken: on its way to Kafka, acknowledged (or spooled), or failed."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from linkspan.kernel.errors import LinkspanError

#: Message ids whose acceptance is remembered.
REMEMBERED = 100_000


class Acceptance(msgspec.Struct, eq=False):
    """One for every message id; ``error`` is set where the append failed, ``spooled`` where only the spool has it."""

    flow: str
    message_id: str
    correlation_id: str
    digest: bytes
    acked: bool = False
    spooled: bool = False
    error: LinkspanError | None = None
    waiting: list[Callable[[], None]] | None = None

    @property
    def is_settled(self) -> bool:
        return self.acked or self.error is not None

    def settle(self, error: LinkspanError | None, spooled: bool) -> None:
        self.acked, self.error, self.spooled = error is None, error, spooled
        waiting, self.waiting = self.waiting, None
        for call in waiting or ():
            call()

    def when_settled(self, call: Callable[[], None]) -> None:
        """Calls once: now, or at the acknowledgement or failure."""
        if self.is_settled:
            call()
        elif self.waiting is None:
            self.waiting = [call]
        else:
            self.waiting.append(call)

    async def settled(self) -> None:
        """Raises what the append failed with."""
        if not self.is_settled:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.when_settled(lambda: None if future.done() else future.set_result(None))
            await future
        if self.error is not None:
            raise self.error.with_traceback(None)  # shared by all that failed with it


class Recent:
    """The latest acceptances by message id, in this process only: a second replica knows nothing of them.

    So this is best effort. The owner of the partition judges repeated ids for good.
    """

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._known: OrderedDict[str, Acceptance] = OrderedDict()
        self._remembered = remembered

    def find(self, message_id: str) -> Acceptance | None:
        """A failed one is forgotten: the sender may try again."""
        known = self._known.get(message_id)
        return None if known is None or known.error is not None else known

    def add(self, acceptance: Acceptance) -> None:
        self._known[acceptance.message_id] = acceptance
        if len(self._known) > self._remembered:
            self._known.popitem(last=False)
