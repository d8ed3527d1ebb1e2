"""The partition's model: a log of events with gaps, a log of outcomes, and a destination that remembers what it took.

A crash forgets the state and keeps the logs and the last commit; a successor reads back as the shell does.
"""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from linkspan.egress.partition.answer import Superseded, Unanswered
from linkspan.egress.partition.effect import Record
from linkspan.egress.partition.holds import Holds
from linkspan.egress.partition.ids import Ids
from linkspan.egress.partition.lanes import Message
from linkspan.egress.partition.memory import Memory
from linkspan.egress.partition.state import PartitionState
from linkspan.egress.partition.window import WindowLimits
from linkspan.kernel.errors import DeliveryError, Expired, Poison, Rejected, Transient, Unavailable
from linkspan.kernel.records.fact import Fact
from linkspan.kernel.records.hold import Hold
from linkspan.kernel.records.position import Position
from linkspan.kernel.records.urgency import CRITICAL, HIGH, LOW, NORMAL
from linkspan.kernel.resilience.retry import RetryPolicy

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


class PartitionModel(RuleBasedStateMachine):
    """``sent``: what reached the destination; ``log``: the outcomes topic; ``parked``: the copies, by event offset,
    each with where it stands and what it says of itself; ``commands``: the control topic."""

    hold = False
    with_ids = False

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
