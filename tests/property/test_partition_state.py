"""The partition's logic under random interleavings, with crashes at any step.

The model is a log of events with gaps, a log of outcomes, and a destination that remembers what it took. A crash
forgets the state and keeps the logs and the last commit; a successor reads back as the shell does.
"""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from linkspan.egress.partition.answer import Superseded, Unanswered
from linkspan.egress.partition.holds import Hold
from linkspan.egress.partition.lanes import Message
from linkspan.egress.partition.memory import FINISHING, Memory
from linkspan.egress.partition.position import Position
from linkspan.egress.partition.retry import RetryPolicy
from linkspan.egress.partition.state import PartitionState, Record
from linkspan.egress.partition.window import WindowLimits
from linkspan.kernel.errors import DeliveryError, Expired, Poison, Rejected, Transient, Unavailable

LIMITS = WindowLimits(messages=6, span=40)
ATTEMPTS = 3
ERRORS: list[DeliveryError | None] = [
    None,
    None,
    None,
    Unavailable("away"),
    Unanswered("lost"),
    Transient("500"),
    Rejected("422"),
    Poison("?"),
    Expired("late"),
    Superseded("older"),
]
KEYS = [b"a", b"a", b"b", b"c", None]
URGENCIES = st.sampled_from([1, 1, 1, 0, 2, 3])


Entry = tuple[str, int, int, tuple[bytes, int] | None]


def entry(effect: Record, epoch: int) -> Entry:
    """Kind, event offset, epoch, and the key that it holds, as an outcome's headers say them."""
    message = effect.message
    held = (message.key, 7) if effect.hold and message.key is not None else None
    return effect.kind, message.offset, epoch, held


class Partition(RuleBasedStateMachine):
    """``sent``: what reached the destination; ``log``: the outcomes topic, of which the acked are ``acked``."""

    hold = False

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[int, bytes | None]] = []
        self.urgency: dict[int, int] = {}
        self.log: list[Entry] = []
        self.state_topic: Position = Position()
        self.holds_topic: dict[bytes, Hold] = {}
        self.now = 0.0
        self.sent: list[tuple[int, bool]] = []
        self.charges: dict[int, int] = {}

    @initialize()
    def begin(self) -> None:
        self.take_over()

    def take_over(self) -> None:
        """Steps 6 to 8: what crashes between them leaves an epoch without checkpoint, or without ``owner``."""
        self.state_topic = replace(self.state_topic, epoch=self.state_topic.epoch + 1)
        self.log.append(("owner", -1, self.state_topic.epoch, None))
        self.epoch, position = self.state_topic.epoch, self.state_topic.events
        memory = Memory(self.state_topic, self.holds_topic)
        for outcome_offset, said in list(enumerate(self.log))[self.state_topic.outcomes :]:
            memory.fold(outcome_offset, *said)
        assert memory.epoch == self.epoch
        retry = RetryPolicy(ATTEMPTS, 1.0, 8.0, random.Random(1))
        end = self.events[-1][0] + 1 if self.events else 0
        self.state = PartitionState(retry, LIMITS, memory, end, hold=self.hold)
        self.marked_below, self.next_fetch = end, position
        self.under_way: dict[int, Message] = {}
        self.waiting: list[Record] = []
        self.acked: set[int] = set()

    @rule(keys=st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 3), URGENCIES), min_size=1, max_size=4))
    def append(self, keys: list[tuple[bytes | None, int, int]]) -> None:
        for key, gap, urgency in keys:
            last = self.events[-1][0] if self.events else -1
            self.events.append((last + 1 + gap, key))
            self.urgency[last + 1 + gap] = urgency

    @rule(count=st.integers(1, 4))
    def fetch(self, count: int) -> None:
        if self.state.wants_more():
            most = min(count, self.state.room())
            found = [event for event in self.events if event[0] >= self.next_fetch][:most]
            self.state.fetched([(offset, key, None, self.urgency[offset]) for offset, key in found])
            self.next_fetch = found[-1][0] + 1 if found else self.next_fetch
            self.waiting += self.state.to_park()

    @rule(budget=st.sampled_from([1, 2, 6]))
    def deliver(self, budget: int) -> None:
        """Fetches before, as an idle owner does."""
        self.fetch(budget)
        for message in self.state.next_deliveries(budget, self.now):
            assert message.offset not in self.under_way
            self.under_way[message.offset] = message
            self.sent.append((message.offset, message.redelivery))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), error=st.sampled_from(ERRORS))
    def answer(self, data: st.DataObject, error: DeliveryError | None) -> None:
        self.answer_one(data.draw(st.sampled_from(sorted(self.under_way))), error)

    @precondition(lambda self: self.under_way)
    @rule(count=st.integers(1, 3), newest=st.booleans())
    def take(self, count: int, newest: bool) -> None:
        for offset in sorted(self.under_way, reverse=newest)[:count]:
            self.answer_one(offset, None)

    def answer_one(self, offset: int, error: DeliveryError | None) -> None:
        message = self.under_way.pop(offset)
        effect = self.state.answered(message, error, self.now)
        assert self.state.answered(message, None, self.now) is None, "one answer counts"
        if effect is not None:
            self.waiting.append(effect)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def put_back(self, data: st.DataObject) -> None:
        message = self.under_way.pop(data.draw(st.sampled_from(sorted(self.under_way))))
        self.sent.remove((message.offset, message.redelivery))
        self.state.put_back(message)

    @precondition(lambda self: self.waiting)
    @rule(count=st.integers(1, 5))
    def ack(self, count: int) -> None:
        for effect in self.waiting[:count]:
            self.log.append(entry(effect, self.epoch))
            self.state.outcome_acked(effect, len(self.log) - 1, 7)
        del self.waiting[:count]
        self.waiting += self.state.to_park()

    @rule(seconds=st.floats(0.1, 10))
    def tick(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def checkpoint(self) -> None:
        self.state_topic = self.state.position(self.next_fetch)
        for key, hold in self.state.changed_holds().items():
            assert hold is not None, "nothing releases a hold here"
            self.holds_topic[key] = hold

    @rule(appended=st.integers(0, 3))
    def crash(self, appended: int) -> None:
        """Some of what waited for its ack stands in the log all the same."""
        self.log += [entry(effect, self.epoch) for effect in self.waiting[:appended]]
        self.take_over()

    @rule(appended=st.integers(1, 3))
    def wake_up_late(self, appended: int) -> None:
        """The former owner goes on after its successor began: what it appends then is void."""
        before, late = self.epoch, self.waiting[:appended]
        self.take_over()
        self.log += [entry(effect, before) for effect in late]

    @rule()
    def crash_between_the_epoch_and_its_mark(self) -> None:
        """Step 6 done, step 7 not; or the mark comes late, after the next owner's."""
        self.state_topic = replace(self.state_topic, epoch=self.state_topic.epoch + 1)
        skipped = self.state_topic.epoch
        self.take_over()
        self.log.append(("owner", -1, skipped, None))

    def valid(self) -> list[int]:
        """Offsets that valid outcomes finish, by the epoch rule read plainly."""
        found, in_force = [], 0
        for kind, offset, epoch, _ in self.log:
            in_force = max(in_force, epoch) if kind == "owner" else in_force
            if kind in FINISHING and epoch >= in_force:
                found.append(offset)
        return found

    def finished(self) -> set[int]:
        return set(self.valid())

    @invariant()
    def position_never_passes_an_unfinished_event(self) -> None:
        if hasattr(self, "state"):
            position = self.state.position(self.next_fetch).events
            finished = self.finished()
            assert all(offset in finished for offset, _ in self.events if offset < position)
            assert all(offset in finished for offset, _ in self.events if offset < self.state_topic.events)

    @invariant()
    def each_message_is_finished_once(self) -> None:
        finishing = self.valid()
        assert len(finishing) == len(set(finishing)), "recorded, and done again"

    @invariant()
    def order_of_each_key_is_kept(self) -> None:
        """A message is sent only when all earlier ones of its key are recorded, so it never comes before one."""
        keys = dict(self.events)
        highest: dict[bytes, int] = {}
        for offset, _ in self.sent:
            key = keys[offset]
            if key is not None:
                assert offset >= highest.get(key, -1)
                highest[key] = offset

    @invariant()
    def what_may_have_arrived_is_marked(self) -> None:
        for offset, message in getattr(self, "under_way", {}).items():
            before = sum(1 for sent, _ in self.sent if sent == offset) > 1
            assert message.redelivery or not before or self.only_known_answers(offset)

    def only_known_answers(self, offset: int) -> bool:
        """Sent before in this life, and each time answered for sure: told "later", or charged."""
        return offset >= self.marked_below or offset not in {sent for sent, _ in self.sent[:-1]}

    @invariant()
    def the_window_is_bounded(self) -> None:
        if hasattr(self, "state"):
            assert self.state.unfinished <= LIMITS.messages
            assert self.state.in_flight <= self.state.unfinished

    def teardown(self) -> None:
        """Left alone with a good destination, everything is finished."""
        if not hasattr(self, "state"):
            return
        for _ in range(10 * len(self.events) + 40):
            self.now += 10
            self.fetch(4)
            self.deliver(8)
            for offset in sorted(self.under_way):
                effect = self.state.answered(self.under_way.pop(offset), None, self.now)
                assert effect
                self.waiting.append(effect)
            if self.waiting:
                self.ack(len(self.waiting))
        assert self.finished() == {offset for offset, _ in self.events}
        assert self.state.position(self.next_fetch).events == self.next_fetch
        assert self.state.wake_at() is None


class HoldingPartition(Partition):
    """A dead letter holds its key: whatever happens, nothing later of it is sent after that is recorded."""

    hold = True

    @invariant()
    def a_held_key_is_never_sent(self) -> None:
        dead = self.dead()
        keys = dict(self.events)
        for offset in getattr(self, "under_way", {}):
            key = keys[offset]
            assert key is None or offset <= dead.get(key, offset)

    def dead(self) -> dict[bytes, int]:
        """The first valid dead letter of each key."""
        found: dict[bytes, int] = {}
        in_force = 0
        for kind, offset, epoch, held in self.log:
            in_force = max(in_force, epoch) if kind == "owner" else in_force
            if kind == "dead_lettered" and epoch >= in_force and held is not None:
                found.setdefault(held[0], offset)
        return found

    @invariant()
    def followers_are_parked_in_order(self) -> None:
        valid = self.valid()
        parked = [offset for kind, offset, _, _ in self.log if kind == "held" and offset in valid]
        keys = dict(self.events)
        for key in set(keys.values()):
            first = list(dict.fromkeys(offset for offset in parked if keys[offset] == key))
            assert first == sorted(first)


for machine in (Partition, HoldingPartition):
    machine.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestPartition = Partition.TestCase
TestHoldingPartition = HoldingPartition.TestCase
