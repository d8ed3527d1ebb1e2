"""The state of one owned partition.

A message is fetched, taken when it is the head of its lane, attempted, answered; the answer is an effect for the
shell: record an outcome, or nothing yet. It is finished, and its lane goes on, when the outcome is *acked*.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from linkspan.egress.partition.answer import Superseded, Unanswered
from linkspan.egress.partition.effect import Record
from linkspan.egress.partition.flushes import Flushes
from linkspan.egress.partition.lanes import Lanes, Message
from linkspan.egress.partition.memory import Memory
from linkspan.egress.partition.offers import Offers
from linkspan.egress.partition.releases import Releases
from linkspan.egress.partition.window import Window, WindowLimits
from linkspan.kernel.errors import Conflict, DeliveryError, FailureClass
from linkspan.kernel.records.fact import (
    ATTEMPT_FAILED,
    DEAD,
    DISCARDED,
    DUPLICATE,
    FINISHING,
    HELD,
    OPENED,
    REDRIVEN,
)
from linkspan.kernel.records.position import Position
from linkspan.kernel.resilience.retry import RetryPolicy


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
        self._lanes = Lanes(limits.messages)
        self._taken: dict[int, Message] = {}
        self._recording: set[int] = set()
        self._hold = hold
        self._effects: list[Record] = []
        self._ids: dict[int, Message] = {}
        self._marked_below = marked_below
        self._marks_left = limits.messages
        self.releases = Releases(memory.holds, self._lanes, memory.marked)
        self.offers = Offers(memory.holds, self._lanes)
        self._flushes = Flushes()
        for key in tuple(memory.holds.draining()):
            self._open(key)

    def fetched(self, messages: Iterable[Message]) -> int:
        """In the log's order; returns how many were finished before and are skipped."""
        skipped = 0
        for message in messages:
            if self._memory.is_finished(message.offset):
                skipped += 1
                continue
            self._window.add(message.offset, message.accepted_at)
            if (control := self._flushes.giving_up(message)) >= 0:
                self._effects.append(self._given_up(message, control))
                continue
            if message.key is not None and self.releases.parks(message.key):
                self._park(message)
                continue
            message.charged = self._memory.charged(message.offset)
            message.redelivery = self._mark(message.offset)
            self._lanes.add(message)
        return skipped

    def _park(self, message: Message) -> None:
        if message.key is not None:
            self.releases.parking(message.key)
        self._recording.add(message.offset)
        self._effects.append(Record(message, HELD, hold=True))

    def effects(self) -> list[Record]:
        """What follows by itself since the last call, in order; to be asked after ``fetched`` and ``outcome_acked``."""
        found, self._effects = self._effects, []
        return found

    def _mark(self, offset: int) -> bool:
        if offset >= self._marked_below or self._marks_left <= 0:
            return offset < self._memory.marked
        self._marks_left -= 1
        return True

    def fetched_to(self, offset: int) -> None:
        """All before it was ``fetched``. A former owner had no more under way than is marked, or fills the window."""
        self.offers.below = offset
        known = offset >= self._marked_below or self._marks_left <= 0 or not self._window.wants_more()
        self.offers.open = self.offers.open or known

    def wants_more(self) -> bool:
        return self._window.wants_more()

    def room(self) -> int:
        """Messages that one fetch may bring at most, so that the window holds what a successor marks."""
        return self._window.room()

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

    def judged(self, message: Message, at: int) -> Record | None:
        """None for a taken message that is to be delivered; what it is where it is given up, or its id known or under
        way (``at``: milliseconds since 1970). A letter that is released alone goes out whatever its id is: somebody
        decided so."""
        if (control := self._flushes.giving_up(message)) >= 0:
            return self._given_up(self._taken.pop(message.offset), control)
        if message.id is None or message.alone:
            return None
        digest = self._memory.known(message.id, message.accepted_at, at)
        if digest is None:
            first = self._ids.setdefault(message.id, message)
            if first is message:
                return None
            digest = first.digest
        if digest == message.digest:
            return self._decide(message, DUPLICATE)
        return self._decide(message, DEAD, Conflict("another message with this id and other content came before"))

    def answered(
        self, message: Message, error: DeliveryError | None, now: float, *, spared: bool = False
    ) -> Record | None:
        """What the attempt came to; None where the message only waits. ``spared``: a failure that may pass is not known
        to be the message's, so it spends no attempt."""
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
                self._window.one_beyond()
                self._later(message, now + self._retry.delay(message.asked, error.retry_after))
                return None
            case FailureClass.EXPIRED:
                return self._decide(message, "expired", error)
        return self._decide(message, "superseded" if isinstance(error, Superseded) else DEAD, error)

    def _decide(self, message: Message, kind: str, error: DeliveryError | None = None) -> Record:
        self._recording.add(self._taken.pop(message.offset).offset)
        holds = kind == DEAD and message.key is not None and not message.alone and not isinstance(error, Conflict)
        return Record(message, kind, error, hold=holds and (self._hold or message.released))

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

    def commanded(self, kind: str, message: Message, control: int) -> Record:
        """Redrive or discard ``message``, a dead letter that the holds' ``letter`` confirmed."""
        return Record(message, kind, hold=self._memory.holds.held_by(message.offset) is not None, control=control)

    def flush(self, until: int, control: int) -> None:
        """The command at ``control`` gives up all unfinished events below ``until``, but what is attempted or parked.
        To be said at a takeover before anything is fetched, as a former owner may have sent what came after; and again
        until ``flushed``. ``effects`` has what follows."""
        self._flushes.begin(until, control)
        for message in self._lanes.withdraw(self._may_be_given_up):
            self._effects.append(self._given_up(message, self._flushes.giving_up(message)))

    def _may_be_given_up(self, message: Message) -> bool:
        settled = message.offset in self._taken or message.offset in self._recording
        return not settled and self._flushes.giving_up(message) >= 0

    def _given_up(self, message: Message, control: int) -> Record:
        self._recording.add(message.offset)
        self.offers.given_up(message)
        return Record(message, DISCARDED, control=control, flushed=True)

    def flushed(self, until: int, control: int, consumer_position: int) -> bool:
        """Nothing below ``until`` is unfinished; then the command is carried out."""
        if done := self._window.oldest(consumer_position) >= until:
            self._flushes.end(control)
        return done

    def is_recording(self, offset: int) -> bool:
        """What becomes of this event is decided, and not acked yet."""
        return offset in self._recording

    def carried_out(self, control: int) -> None:
        """All commands below ``control``: their outcomes are acked, or they were refused."""
        self._memory.control = max(self._memory.control, control)

    @property
    def control(self) -> int:
        return self._memory.control

    def outcome_acked(self, effect: Record, outcome_offset: int, parked: int = -1, at: int = 0) -> None:
        """It stands in the log at ``outcome_offset``, its copy in ``parked`` at that offset; ``at``: milliseconds since
        1970. Only now is anything different."""
        message, kind = effect.message, effect.kind
        self._memory.fold(outcome_offset, effect.fact(self._memory.epoch, parked, at))
        if message.key is not None and effect.hold and kind in (REDRIVEN, DISCARDED, OPENED):
            self._released_or_opened(kind, message.key)
        if kind not in FINISHING or message.offset not in self._recording:
            return
        self._recording.remove(message.offset)
        if message.id is not None and self._ids.get(message.id) is message:
            del self._ids[message.id]
        if message.released:
            self.releases.through(message)
        else:
            self._window.finish(message.offset)
        self._go_on(effect)

    def _released_or_opened(self, kind: str, key: bytes) -> None:
        if kind == OPENED:
            self.releases.end(key)
        else:
            self.releases.begin(key)
            self._open(key)

    def _open(self, key: bytes | None) -> None:
        if key is not None and self.releases.opens(key):
            self._effects.append(Record(Message(self._memory.holds[key].last, key, None), OPENED, hold=True))

    def _go_on(self, effect: Record) -> None:
        message = effect.message
        if effect.flushed:
            self.offers.gone(message)
        elif effect.kind == HELD:
            if message.key is not None:
                self.releases.parked(message.key)
        elif effect.hold:
            if message.key is not None:
                self.releases.end(message.key)
            for follower in self._lanes.dissolve(message):
                if not follower.released:
                    self._park(follower)
        else:
            self._lanes.release(message)
            self._open(message.key)

    @property
    def memory(self) -> Memory:
        """To be read together with ``position``, in the same moment."""
        return self._memory

    def position(self, consumer_position: int) -> Position:
        """What a successor needs now; ``consumer_position`` is the offset of the next fetch, used where nothing that
        was fetched is unfinished. Never "last + 1": offsets have gaps."""
        return self._memory.position(self._window.oldest(consumer_position))

    def ready(self) -> bool:
        """Some head may go without waiting."""
        return self._lanes.ready()

    def hurry(self) -> None:
        """What waits for its retry may go now."""
        self._lanes.hurry()

    def wake_at(self) -> float | None:
        """When a head that waits for its retry may go."""
        return self._lanes.wake_at()

    def oldest_accepted(self) -> int | None:
        """Of the oldest unfinished event, microseconds since 1970."""
        return self._window.oldest_accepted()

    @property
    def unfinished(self) -> int:
        return len(self._window)
