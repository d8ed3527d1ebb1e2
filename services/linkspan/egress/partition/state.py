"""The state of one owned partition.

A message is fetched, taken when it is the head of its lane, attempted, answered; the answer is an effect for the
shell: record an outcome, or nothing yet. It is finished, and its lane goes on, when the outcome is *acked*.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from linkspan.egress.partition.answer import Superseded, Unanswered
from linkspan.egress.partition.holds import Hold
from linkspan.egress.partition.lanes import Lanes, Message
from linkspan.egress.partition.memory import ATTEMPT_FAILED, FINISHING, Memory
from linkspan.egress.partition.position import Position
from linkspan.egress.partition.retry import RetryPolicy
from linkspan.egress.partition.window import Window, WindowLimits
from linkspan.kernel.errors import DeliveryError, FailureClass

DEAD, HELD = "dead_lettered", "held"


@dataclass(frozen=True, slots=True)
class Record:
    """Append this outcome; when it is acked, say so with ``outcome_acked``.

    ``dead_lettered`` and ``held``: copy the message to ``parked`` first. ``hold``: its key is held from then on.
    """

    message: Message
    kind: str
    error: DeliveryError | None = None
    hold: bool = False


class PartitionState:
    """``memory`` holds what was read back, up to this owner's own ``owner(epoch)``; ``marked_below``: events under
    this log end may have been delivered by a former owner, at most a window of them, so they are marked as possible
    redeliveries."""

    def __init__(
        self, retry: RetryPolicy, limits: WindowLimits, memory: Memory, marked_below: int, *, hold: bool = True
    ) -> None:
        self._retry = retry
        self._memory = memory
        self._window = Window(limits)
        self._lanes = Lanes()
        self._taken: dict[int, Message] = {}
        self._recording: set[int] = set()
        self._hold = hold
        self._to_park: list[Record] = []
        self._full = self._one_beyond = False
        self._marked_below = marked_below
        self._marks_left = limits.messages

    def fetched(self, records: Iterable[tuple[int, bytes | None, object]]) -> int:
        """Takes (offset, key, record) in the log's order; returns how many were finished before and are skipped."""
        skipped = 0
        for offset, key, record in records:
            if self._memory.is_finished(offset):
                skipped += 1
                continue
            self._window.add(offset)
            self._one_beyond = False
            if key is not None and key in self._memory.holds:
                self._park(Message(offset, key, record))
                continue
            charged = self._memory.charged(offset)
            self._lanes.add(Message(offset, key, record, self._mark(offset), charged))
        return skipped

    def _park(self, message: Message) -> None:
        self._recording.add(message.offset)
        self._to_park.append(Record(message, HELD, hold=True))

    def to_park(self) -> list[Record]:
        """Followers of held keys since the last call, in order; to be asked after ``fetched`` and ``outcome_acked``."""
        found, self._to_park = self._to_park, []
        return found

    def _mark(self, offset: int) -> bool:
        if offset >= self._marked_below or self._marks_left <= 0:
            return False
        self._marks_left -= 1
        return True

    def wants_more(self) -> bool:
        """Once full, the window asks again when half of it is free; or for one, to compare it with what failed."""
        self._full = not (self._window.has_much_room() if self._full else self._window.has_room())
        return not self._full or (self._one_beyond and len(self._window) < self._window.limits.messages)

    def room(self) -> int:
        """Messages that one fetch may bring at most, so that the window holds what a successor marks."""
        return 1 if self._full else max(1, self._window.limits.messages - len(self._window))

    def next_deliveries(self, budget: int, now: float) -> Iterator[Message]:
        """At most one message of each key, the oldest unfinished of it; each must be answered or put back."""
        for message in self._lanes.take(budget, now):
            self._taken[message.offset] = message
            yield message

    def put_back(self, message: Message) -> None:
        """It did not go: no capacity, or it was being prepared. It is the next one."""
        if self._taken.get(message.offset) is message:
            del self._taken[message.offset]
            self._lanes.put_back(message)

    def answered(
        self, message: Message, error: DeliveryError | None, now: float, *, spared: bool = False
    ) -> Record | None:
        """What the attempt came to; None where the message only waits for its next one. ``spared``: a failure that may
        pass spends no attempt, as it is not known to be the message's."""
        if self._taken.get(message.offset) is not message:
            return None
        if error is None:
            return self._decide(message, "delivered")
        message.redelivery = message.redelivery or isinstance(error, Unanswered)
        match error.failure:
            case FailureClass.TRANSIENT if not spared:
                return self._charge(message, error, now)
            case FailureClass.UNAVAILABLE | FailureClass.TRANSIENT:
                message.asked += 1
                self._one_beyond = True
                self._later(message, now + self._retry.delay(message.asked, error.retry_after))
                return None
            case FailureClass.EXPIRED:
                return self._decide(message, "expired", error)
        return self._decide(message, "superseded" if isinstance(error, Superseded) else DEAD, error)

    def _decide(self, message: Message, kind: str, error: DeliveryError | None = None) -> Record:
        self._recording.add(self._taken.pop(message.offset).offset)
        return Record(message, kind, error, hold=kind == DEAD and self._hold and message.key is not None)

    def _charge(self, message: Message, error: DeliveryError, now: float) -> Record:
        message.charged += 1
        message.asked = 0
        if message.charged >= self._retry.attempts:
            return self._decide(message, DEAD, error)
        self._later(message, now + self._retry.delay(message.charged, error.retry_after))
        return Record(message, ATTEMPT_FAILED, error)

    def charge(self, message: Message, error: DeliveryError) -> Record | None:
        """A failure of a taken message that was spared turned out to be its own: it is the next one, or dead."""
        if self._taken.get(message.offset) is not message:
            return None
        message.charged += 1
        if message.charged >= self._retry.attempts:
            return self._decide(message, DEAD, error)
        self.put_back(message)
        return Record(message, ATTEMPT_FAILED, error)

    def _later(self, message: Message, at: float) -> None:
        del self._taken[message.offset]
        self._lanes.delay(message, at)

    def outcome_acked(self, effect: Record, outcome_offset: int, parked: int = -1) -> None:
        """It stands in the log at ``outcome_offset``, its copy in ``parked`` at that offset: only now is anything
        different."""
        message, kind = effect.message, effect.kind
        held = (message.key, parked) if effect.hold and message.key is not None else None
        self._memory.fold(outcome_offset, kind, message.offset, self._memory.epoch, held)
        if kind not in FINISHING or message.offset not in self._recording:
            return
        self._recording.remove(message.offset)
        self._window.finish(message.offset)
        if kind == HELD:
            return
        if effect.hold:
            for follower in self._lanes.dissolve(message):
                self._park(follower)
        else:
            self._lanes.release(message)

    def changed_holds(self) -> dict[bytes, Hold | None]:
        """Since the last call; belongs to the position of the same moment."""
        return self._memory.holds.changed()

    @property
    def held_keys(self) -> int:
        return len(self._memory.holds)

    def position(self, consumer_position: int) -> Position:
        """What a successor needs now; ``consumer_position`` is the offset of the next fetch, used where nothing that
        was fetched is unfinished. Never "last + 1": offsets have gaps."""
        oldest = self._window.oldest()
        return self._memory.position(consumer_position if oldest is None else oldest)

    def ready(self) -> bool:
        """Some head may go without waiting."""
        return self._lanes.ready()

    def wake_at(self) -> float | None:
        """When a head that waits for its retry may go."""
        return self._lanes.wake_at()

    @property
    def in_flight(self) -> int:
        """Taken, and its outcome not acked."""
        return len(self._taken) + len(self._recording)

    @property
    def unfinished(self) -> int:
        return len(self._window)
