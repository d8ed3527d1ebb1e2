"""The partition's logic under random interleavings, with crashes at any step.

The model is a log of events with gaps, a log of outcomes, and a destination that remembers what it took. A crash
forgets the state and keeps the logs and the last commit; a successor reads back as the shell does.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from linkspan.egress.partition.answer import Superseded, Unanswered
from linkspan.egress.partition.effect import Record
from linkspan.egress.partition.holds import Holds
from linkspan.egress.partition.ids import Ids
from linkspan.egress.partition.lanes import Message
from linkspan.egress.partition.memory import Memory
from linkspan.egress.partition.state import PartitionState
from linkspan.egress.partition.window import WindowLimits
from linkspan.kernel.errors import DeliveryError, Expired, Poison, Rejected, Transient, Unavailable
from linkspan.kernel.records.fact import FINISHING, Fact
from linkspan.kernel.records.hold import Hold
from linkspan.kernel.records.position import Position
from linkspan.kernel.records.urgency import CRITICAL, HIGH, LOW, NORMAL
from linkspan.kernel.resilience.retry import RetryPolicy

pytestmark = pytest.mark.timeout(1200)
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
#: By event offset.
URGENCIES = (NORMAL, NORMAL, CRITICAL, NORMAL, LOW, HIGH)


#: Message ids come from a few, so that some come twice, with the same content or another, sent again or only appended
#: again: the third number is when they were accepted.
IDS = st.one_of(st.none(), st.tuples(st.integers(0, 3), st.sampled_from([1, 1, 2]), st.sampled_from([5, 5, 6])))
Identity = tuple[int, int, int] | None
NOTHING_AGAIN = frozenset({"delivered", "filtered", "superseded", "expired", "duplicate", "discarded"})


class Partition(RuleBasedStateMachine):
    """``sent``: what reached the destination; ``log``: the outcomes topic; ``parked``: the copies, by event offset,
    each with where it stands and what it says of itself; ``commands``: the control topic."""

    hold = False
    with_ids = False
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.events: dict[int, tuple[bytes | None, Identity]] = {}
        self.log: list[Fact] = []
        self.state_topic = Position()
        self.holds_topic: dict[bytes, Hold] = {}
        self.ids_topic: dict[int, tuple[int, bytes]] = {}
        self.parked: dict[int, tuple[int, str]] = {}
        self.next_at = 0
        self.commands: list[tuple[str, int]] = []
        self.now = 0.0
        self.sent: list[tuple[int, bool]] = []

    @initialize()
    def begin(self) -> None:
        self.take_over()

    def take_over(self) -> None:
        """Steps 6 to 9: what crashes between them leaves an epoch without checkpoint, or without ``owner``."""
        self.state_topic = replace(self.state_topic, epoch=self.state_topic.epoch + 1)
        self.log.append(Fact("owner", -1, self.state_topic.epoch))
        self.epoch, position = self.state_topic.epoch, self.state_topic
        ids = Ids(1024, 10**9) if self.with_ids else Ids()
        ids.restore(self.ids_topic.values())
        copies = {
            offset: (at, self.events[offset][0]) for offset, (at, _) in self.parked.items() if at >= position.parked
        }
        memory = Memory(position, Holds(self.holds_topic, position.redriven), ids, copies)
        for outcome_offset, fact in list(enumerate(self.log))[position.outcomes :]:
            if not fact.plan:
                memory.fold(outcome_offset, fact)
        assert memory.epoch == self.epoch
        for offset in memory.orphans():
            del self.parked[offset]
        retry = RetryPolicy(ATTEMPTS, 1.0, 8.0, random.Random(1))
        end = max(self.events, default=-1) + 1
        self.state = PartitionState(retry, LIMITS, memory, end, hold=self.hold)
        self.marked_below, self.next_fetch = end, position.events
        self.of_former_lives = {offset for offset, _ in self.sent}
        self.under_way: dict[int, Message] = {}
        self.waiting: list[Record] = []
        self.obeyed = memory.control
        for control, (kind, until) in list(enumerate(self.commands))[self.obeyed :]:
            if kind == "flush":
                self.state.flush(until, control)
        self.waiting += self.state.effects()

    def message(self, offset: int) -> Message:
        key, identity = self.events[offset]
        number, digest, accepted = identity or (None, 0, 0)
        urgency = URGENCIES[offset % 6]
        return Message(offset, key, None, id=number, digest=digest, urgency=urgency, accepted_at=accepted)

    @rule(keys=st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 3), IDS), min_size=1, max_size=4))
    def append(self, keys: list[tuple[bytes | None, int, Identity]]) -> None:
        for key, gap, identity in keys:
            self.events[max(self.events, default=-1) + 1 + gap] = key, identity if self.with_ids else None

    @rule(count=st.integers(1, 4))
    def fetch(self, count: int) -> None:
        if self.state.wants_more():
            most = min(count, self.state.room())
            found = [offset for offset in self.events if offset >= self.next_fetch][:most]
            self.state.fetched([self.message(offset) for offset in found])
            self.next_fetch = found[-1] + 1 if found else self.next_fetch
            self.waiting += self.state.effects()

    @rule(budget=st.sampled_from([1, 2, 6]))
    def deliver(self, budget: int) -> None:
        """Fetches before, as an idle owner does."""
        self.fetch(budget)
        for message in self.state.next_deliveries(budget, self.now):
            assert message.offset not in self.under_way
            judged = self.state.judged(message, int(self.now * 1000))
            if judged is not None:
                self.waiting.append(judged)
                continue
            self.under_way[message.offset] = message
            self.sent.append((message.offset, message.redelivery))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), error=st.sampled_from(ERRORS + [Rejected("no")] * 4))
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

    def write(self, effect: Record) -> tuple[Fact, int]:
        """The copy first, where one is due."""
        at = -1
        if effect.kind in ("dead_lettered", "held"):
            at, self.next_at = self.next_at, self.next_at + 1
            self.parked[effect.message.offset] = at, effect.kind
        return effect.fact(self.epoch, at, int(self.now * 1000)), at

    @precondition(lambda self: self.waiting)
    @rule(count=st.integers(1, 5))
    def ack(self, count: int) -> None:
        for effect in self.waiting[:count]:
            fact, at = self.write(effect)
            self.log.append(fact)
            self.state.outcome_acked(effect, len(self.log) - 1, at, fact.at)
        del self.waiting[:count]
        self.waiting += self.state.effects()

    @rule(seconds=st.floats(0.1, 10))
    def tick(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def checkpoint(self) -> None:
        """One transaction."""
        memory = self.state.memory
        self.state_topic = self.state.position(self.next_fetch)
        for key, hold in memory.holds.changed().items():
            if hold is None:
                self.holds_topic.pop(key, None)
            else:
                self.holds_topic[key] = hold
        self.ids_topic |= {place: (serial, entries) for place, serial, entries in memory.ids.changed()}
        for offset in memory.holds.resolved():
            self.parked.pop(offset, None)

    @precondition(lambda self: any(kind == "dead_lettered" for _, kind in self.parked.values()))
    @rule(data=st.data(), kind=st.sampled_from(["redriven", "redriven", "discarded"]))
    def command(self, data: st.DataObject, kind: str) -> None:
        letters = sorted(offset for offset, (_, said) in self.parked.items() if said == "dead_lettered")
        self.commands.append((kind, data.draw(st.sampled_from(letters))))

    @rule()
    def obey(self) -> None:
        """One command, and the next only when this is acked."""
        if self.obeyed > self.state.control or self.obeyed >= len(self.commands):
            return
        kind, offset = self.commands[self.obeyed]
        if kind == "flush":
            self.sweep(offset)
            return
        if self.state.is_recording(offset):
            return
        copy = self.parked.get(offset)
        refused = (
            "gone"
            if copy is None
            else self.state.memory.holds.letter(offset, self.events[offset][0], dead=copy[1] != "held")
        )
        if refused is None:
            self.waiting.append(self.state.commanded(kind, self.message(offset), self.obeyed))
        else:
            self.state.carried_out(self.obeyed + 1)
        self.obeyed += 1

    def sweep(self, until: int) -> None:
        if self.state.flushed(until, self.obeyed, self.next_fetch):
            self.obeyed += 1
            self.state.carried_out(self.obeyed)
        else:
            self.state.flush(until, self.obeyed)
            self.waiting += self.state.effects()

    @precondition(lambda self: self.events)
    @rule(spared=st.integers(0, 6))
    def flush(self, spared: int) -> None:
        """Up to the log's end of then, or somewhat below: a command takes its time."""
        self.commands.append(("flush", max(0, max(self.events) + 1 - spared)))

    @precondition(lambda self: self.parked)
    @rule(data=st.data())
    def a_letter_goes_out(self, data: st.DataObject) -> None:
        """The way into the middle of a release."""
        if self.waiting:
            self.ack(len(self.waiting))
        letters = [offset for offset, (_, said) in self.parked.items() if said == "dead_lettered"]
        if letters:
            self.commands.append(("redriven", data.draw(st.sampled_from(sorted(letters)))))
            for _ in range(3):
                self.obey()
                if self.waiting:
                    self.ack(len(self.waiting))
            self.release(data.draw(st.integers(1, 2)))
            self.deliver(data.draw(st.integers(1, 4)))

    @rule(least=st.integers(1, 3))
    def release(self, least: int) -> None:
        """Copies go back to their lanes, a few at a time."""
        for wanted in self.state.releases.wanted():
            found = sorted(
                offset
                for offset, (at, _) in self.parked.items()
                if self.events[offset][0] == wanted.key and wanted.after < offset <= wanted.last and at >= wanted.start
            )
            assert found[-1:] == [wanted.last], "what an outcome names is there"
            self.state.releases.queue(wanted, [self.message(offset) for offset in found[:least]])
        for offset in self.state.releases.wanted_alone():
            assert offset in self.parked
            self.state.releases.queue_alone(self.message(offset))

    @rule(appended=st.integers(0, 3))
    def crash(self, appended: int) -> None:
        """Some of what waited for its ack stands in the log all the same, and a copy more in ``parked``."""
        for effect in self.waiting[:appended]:
            self.log.append(self.write(effect)[0])
        for effect in self.waiting[appended : appended + 1]:
            self.write(effect)
        self.take_over()

    @rule(appended=st.integers(1, 3))
    def wake_up_late(self, appended: int) -> None:
        """The former owner goes on after its successor began: what it appends then is void; ``parked`` is fenced."""
        late = [effect.fact(self.epoch, 10**6, int(self.now * 1000)) for effect in self.waiting[:appended]]
        self.take_over()
        self.log += late

    @rule()
    def crash_between_the_epoch_and_its_mark(self) -> None:
        """Step 6 done, step 7 not; or the mark comes late, after the next owner's."""
        self.state_topic = replace(self.state_topic, epoch=self.state_topic.epoch + 1)
        skipped = self.state_topic.epoch
        self.take_over()
        self.log.append(Fact("owner", -1, skipped))

    def valid(self) -> list[Fact]:
        """By the epoch rule read plainly; what is of a replay says nothing of a message's own status."""
        found, in_force = [], 0
        for fact in self.log:
            in_force = max(in_force, fact.epoch) if fact.kind == "owner" else in_force
            if fact.kind != "owner" and fact.epoch >= in_force and not fact.plan:
                found.append(fact)
        return found

    def finished(self) -> set[int]:
        return {fact.offset for fact in self.valid() if fact.kind in FINISHING}

    @invariant()
    def counted(self) -> None:
        type(self).steps += 1

    @invariant()
    def position_never_passes_an_unfinished_event(self) -> None:
        if hasattr(self, "state"):
            position = self.state.position(self.next_fetch).events
            finished = self.finished()
            assert all(offset in finished for offset in self.events if offset < position)
            assert all(offset in finished for offset in self.events if offset < self.state_topic.events)

    @invariant()
    def each_message_is_finished_once(self) -> None:
        """Once more only after it was held, or a dead letter that was redriven or discarded; never when it was
        through. A flush gives up only what was not finished."""
        through: dict[int, str] = {}
        for fact in self.valid():
            before = through.get(fact.offset)
            if fact.kind == "redriven":
                assert before == "dead_lettered"
                through[fact.offset] = "redriven"
            elif fact.kind in FINISHING:
                assert before not in NOTHING_AGAIN, (before, fact)
                assert not fact.flushed or before is None, (before, fact)
                assert before != "dead_lettered" or fact.kind == "discarded", (before, fact)
                assert before != "held" or fact.kind != "held"
                through[fact.offset] = fact.kind

    @invariant()
    def no_command_acts_twice(self) -> None:
        acted = [fact.control for fact in self.valid() if fact.control >= 0 and not fact.flushed]
        assert len(acted) == len(set(acted))

    @invariant()
    def a_flush_gives_up_what_it_means_and_is_done_only_then(self) -> None:
        """And what was given up is not sent any more."""
        if not any(kind == "flush" for kind, _ in self.commands):
            return
        given_up = {fact.offset: fact.control for fact in self.valid() if fact.flushed}
        assert all(offset < self.commands[control][1] for offset, control in given_up.items())
        assert not given_up.keys() & self.under_way.keys()
        finished = self.finished()
        for kind, until in self.commands[: self.state.control]:
            assert kind != "flush" or all(offset in finished for offset in self.events if offset < until)

    @invariant()
    def order_of_each_key_is_kept(self) -> None:
        """A message is sent only when all earlier ones of its key are recorded, so it never comes before one; a letter
        that held no key comes when somebody says so."""
        highest: dict[bytes, int] = {}
        for offset, _ in self.sent:
            key = self.events[offset][0]
            if key is not None and (self.hold or offset not in self.redriven()):
                assert offset >= highest.get(key, -1) or offset in self.redriven_alone()
                highest[key] = max(offset, highest.get(key, -1))

    def redriven(self) -> set[int]:
        return {fact.offset for fact in self.valid() if fact.kind == "redriven"}

    def redriven_alone(self) -> set[int]:
        return {fact.offset for fact in self.valid() if fact.kind == "redriven" and not fact.hold}

    @invariant()
    def what_may_have_arrived_is_marked(self) -> None:
        for offset, message in getattr(self, "under_way", {}).items():
            before = sum(1 for sent, _ in self.sent if sent == offset) > 1
            assert message.redelivery or not before or self.only_known_answers(offset)

    def only_known_answers(self, offset: int) -> bool:
        """Sent before in this life, and each time answered for sure: told "later", or charged; or refused, and then
        redriven."""
        if offset in self.redriven():
            return True
        return offset not in self.of_former_lives

    @invariant()
    def the_window_is_bounded(self) -> None:
        if hasattr(self, "state"):
            assert self.state.unfinished <= LIMITS.messages

    def teardown(self) -> None:
        """Left alone with a good destination, everything is finished; with every letter redriven, delivered."""
        if not hasattr(self, "state"):
            return
        self.run_dry()
        self.checkpoint()
        assert self.finished() == set(self.events)
        for _ in range(3 * len(self.events) + 1):
            letters = [offset for offset, (_, kind) in self.parked.items() if kind == "dead_lettered"]
            if not letters:
                break
            self.commands += [("redriven", offset) for offset in letters]
            self.run_dry()
            self.checkpoint()
        last = {fact.offset: fact.kind for fact in self.valid() if fact.kind in FINISHING}
        assert set(last.values()) <= NOTHING_AGAIN
        assert not self.parked
        assert not self.holds_topic
        assert self.state.position(self.next_fetch).events == self.next_fetch
        assert self.state.wake_at() is None

    def run_dry(self) -> None:
        for _ in range(10 * len(self.events) + 40):
            self.now += 10
            self.fetch(4)
            self.obey()
            self.release(3)
            self.deliver(8)
            for offset in sorted(self.under_way):
                self.answer_one(offset, None)
            if self.waiting:
                self.ack(len(self.waiting))


class HoldingPartition(Partition):
    """A dead letter holds its key: whatever happens, nothing later of it is sent before that is redriven or
    discarded."""

    hold, steps = True, 0

    @invariant()
    def a_held_key_is_never_sent(self) -> None:
        dead = self.dead()
        for offset in getattr(self, "under_way", {}):
            key = self.events[offset][0]
            assert key is None or offset <= dead.get(key, offset) or offset in self.redriven_alone()

    def dead(self) -> dict[bytes, int]:
        """The dead letter that holds each held key."""
        found: dict[bytes, int] = {}
        for fact in self.valid():
            if fact.key is None or not fact.hold:
                continue
            if fact.kind == "dead_lettered":
                found[fact.key] = fact.offset
            elif fact.kind in ("redriven", "discarded"):
                found.pop(fact.key, None)
        return found

    @invariant()
    def followers_are_parked_in_order(self) -> None:
        parked = [fact.offset for fact in self.valid() if fact.kind == "held"]
        for key in {key for key, _ in self.events.values()}:
            first = [offset for offset in parked if self.events[offset][0] == key]
            assert first == sorted(first)


class PartitionWithIds(HoldingPartition):
    """The same id again is a duplicate, or a conflict where its content is another."""

    with_ids, steps = True, 0

    @invariant()
    def an_id_is_delivered_once(self) -> None:
        """But for a letter that somebody redrives whatever its id is."""
        delivered = [
            self.events[fact.offset][1]
            for fact in self.valid()
            if fact.kind == "delivered" and fact.offset not in self.redriven_alone()
        ]
        ids = [identity[0] for identity in delivered if identity is not None]
        assert len(ids) == len(set(ids))


#: Steps of all machines together; CI asks for 100,000.
STEPS = int(os.environ.get("LINKSPAN_STEPS", "15000"))
MACHINES = (Partition, HoldingPartition, PartitionWithIds)
for machine in MACHINES:
    machine.TestCase.settings = settings(
        max_examples=max(1, STEPS // len(MACHINES) // 40), stateful_step_count=60, deadline=None
    )
TestPartition = Partition.TestCase
TestHoldingPartition = HoldingPartition.TestCase
TestPartitionWithIds = PartitionWithIds.TestCase


def test_that_many_steps_were_taken() -> None:
    assert all(machine.steps for machine in MACHINES), "runs after the machines"
    assert sum(machine.steps for machine in MACHINES) >= STEPS
