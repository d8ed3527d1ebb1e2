"""A replay beside live delivery under random interleavings, with crashes and takeovers at any step.

The model of ``test_partition_state`` goes on as it does without one; a plan is frozen from what its log says, and its
part is worked through by whoever owns the partition. Outcomes of both stand in one log.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from tests.property.test_partition_state import ATTEMPTS, ERRORS, HoldingPartition

from linkspan.egress.partition.answer import Unanswered
from linkspan.egress.partition.effect import Record
from linkspan.egress.partition.lanes import Message
from linkspan.egress.partition.replay import Part
from linkspan.kernel.errors import DeliveryError
from linkspan.kernel.records.epoch import Epoch
from linkspan.kernel.records.fact import Fact
from linkspan.kernel.records.listed import Listed
from linkspan.kernel.records.plan import (
    CANCELLED,
    DELIVERED,
    DISPOSITIONS,
    HELD,
    NEWER_INSIDE,
    NEWER_OUTSIDE,
    OPEN,
    SKIPPED,
    Planned,
    ReplayOptions,
    Stood,
)
from linkspan.kernel.resilience.retry import RetryPolicy

pytestmark = pytest.mark.timeout(1200)


@dataclass
class Plan:
    """``sent``: attempts, in order; ``maybe``: offsets of which one may have arrived though nothing says so; ``taken``:
    of which one was taken."""

    entries: list[Planned]
    options: ReplayOptions
    outcomes: int
    in_force: int
    quota: int | None
    cancelled: bool = False
    maybe: set[int] = field(default_factory=set)
    sent: list[int] = field(default_factory=list)
    taken: set[int] = field(default_factory=set)

    @property
    def offsets(self) -> set[int]:
        return {entry.offset for entry in self.entries}


class ReplayedPartition(HoldingPartition):
    """``ranges``: where the range outcomes of the plan end, by their place in the log; ``lost``: by retention."""

    def __init__(self) -> None:
        super().__init__()
        self.plan: Plan | None = None
        self.part: Part | None = None
        self.resent: dict[int, Message] = {}
        self.ranges: dict[int, int] = {}
        self.lost: set[int] = set()

    def frozen(self, chosen: list[int], options: ReplayOptions, quota: int | None) -> None:
        entries = [Planned(offset, self.stood(offset, chosen).code, -1, 0) for offset in chosen]
        epoch = Epoch()
        for fact in self.log:
            epoch.valid(fact.kind, fact.epoch)
        self.plan = Plan(entries, options, len(self.log), epoch.in_force, quota)
        self.work_on()

    def stood(self, offset: int, chosen: list[int]) -> Stood:
        key, dead = self.events[offset][0], self.dead()
        own = {fact.offset: fact.kind for fact in self.valid() if fact.kind != "attempt_failed"}
        delivered = [other for other, kind in own.items() if kind == "delivered" and self.events[other][0] == key]
        newest = max(delivered, default=-1) if key is not None else -1
        newer = 0 if newest <= offset else NEWER_INSIDE if newest in chosen else NEWER_OUTSIDE
        if own.get(offset) in ("delivered", "duplicate"):
            return Stood(DELIVERED, newer)
        held = own.get(offset) == "held" or (key is not None and key in dead)
        return Stood(HELD if held else OPEN, newer)

    def work_on(self) -> None:
        """As the owner begins, or takes it over."""
        plan = self.plan
        assert plan is not None
        listed = Listed(plan.options)
        for entry in plan.entries:
            listed.add(entry)
        retry = RetryPolicy(ATTEMPTS, 1.0, 8.0, random.Random(1))
        self.part = part = Part(listed, plan.options, retry, self.state.offers, plan.quota)
        epoch = Epoch(plan.in_force)
        for place, fact in list(enumerate(self.log))[plan.outcomes :]:
            if not epoch.valid(fact.kind, fact.epoch) or fact.kind == "owner":
                continue
            if fact.plan:
                part.said(fact.kind, fact.offset, self.ranges.get(place, -1))
            else:
                part.live(fact.kind, fact.offset, fact.key)
        part.resume()
        part.stopped = plan.cancelled
        self.resent = {}
        if not part.listed.begun:
            self.waiting.append(part.ranged(SKIPPED))

    def take_over(self) -> None:
        plan = self.plan
        if plan is not None:
            decided = {one.message.offset for one in self.waiting if one.message.replay is not None}
            plan.maybe |= (set(self.resent) | decided) & set(plan.sent)
        super().take_over()
        if plan is not None:
            self.work_on()

    def look(self, count: int) -> None:
        assert self.part is not None
        for planned in self.part.wants()[:count]:
            gone = planned.offset in self.lost
            effect = self.part.found(planned, None if gone else self.message(planned.offset), 1)
            self.waiting += [effect] if effect is not None else []

    def offer(self, budget: int) -> None:
        part, plan = self.part, self.plan
        if part is None or plan is None:
            return
        self.look(budget)
        if not part.listed.begun:
            return
        self.state.fetched_to(self.next_fetch)
        while budget > 0 and (one := part.next(self.now)) is not None:
            if isinstance(one, Record):
                self.waiting.append(one)
                continue
            budget -= 1
            self.judge(one)
            self.resent[one.offset] = one
            plan.sent.append(one.offset)

    def judge(self, message: Message) -> None:
        """What must hold when a planned record is sent."""
        plan, key, offset = self.plan, message.key, message.offset
        assert plan is not None
        assert not plan.cancelled
        assert offset not in self.resent
        assert message.redelivery or offset not in plan.maybe, "it may have arrived: it is marked"
        assert offset not in plan.taken - plan.maybe, "sent once"
        assert offset in plan.offsets
        assert offset in self.finished(), "live delivery had it first"
        if key is None:
            return
        assert key not in self.dead(), "a held key is left alone"
        same = [other for other in self.under_way if self.events[other][0] == key]
        assert not same, "one message of a key at a time, whoever sends it"
        finished = self.finished()
        unsure = [o for o, _ in self.sent if self.events[o][0] == key and o > offset and o not in finished]
        assert not unsure, "newer ones that may have arrived are through first"
        newest = max((f.offset for f in self.delivered_since(plan, key)), default=-1)
        if newest > offset and not plan.options.allow_superseded:
            assert plan.options.force
            assert newest in plan.offsets - self.ended().keys(), "it is sent again after this one"

    def delivered_since(self, plan: Plan, key: bytes) -> list[Fact]:
        """After the plan; what came before, the plan itself says."""
        valid = set(map(id, self.valid()))
        return [
            fact
            for fact in self.log[plan.outcomes :]
            if id(fact) in valid and fact.kind == "delivered" and fact.key == key
        ]

    def deliver(self, budget: int) -> None:
        before = len(self.sent)
        super().deliver(budget)
        busy = {self.events[offset][0] for offset in self.resent} - {None}
        assert not [o for o, _ in self.sent[before:] if self.events[o][0] in busy], "it waits while one is attempted"

    def answer_one_replayed(self, offset: int, error: DeliveryError | None) -> None:
        assert self.part is not None
        assert self.plan is not None
        message = self.resent.pop(offset)
        if isinstance(error, Unanswered):
            self.plan.maybe.add(offset)
        if error is None:
            self.plan.taken.add(offset)
        effect = self.part.answered(message, error, self.now)
        assert self.part.answered(message, None, self.now) is None, "one answer counts"
        self.waiting += [effect] if effect is not None else []

    def withdraw(self, offset: int) -> None:
        assert self.part is not None
        assert self.plan is not None
        message = self.resent.pop(offset)
        self.plan.sent.remove(message.offset)
        self.part.put_back(message)

    def events_are_gone(self) -> None:
        """By retention: what was finished long ago."""
        self.lost |= {offset for offset in self.events if offset < self.state_topic.events and offset % 3 == 0}

    def confirm(self) -> None:
        assert self.part is not None
        assert self.plan is not None
        self.part.quota = self.plan.quota = None

    def cancel(self) -> None:
        assert self.plan is not None
        assert self.part is not None
        self.plan.cancelled = self.part.stopped = True

    def end(self) -> None:
        """What is under way ends; then the rest is recorded as cancelled."""
        part = self.part
        ranged = any(one.kind == CANCELLED for one in self.waiting)
        if part is not None and part.stopped and part.idle and part.listed.begun and part.listed.left and not ranged:
            self.waiting.append(part.ranged(CANCELLED))

    def log_it(self, effect: Record) -> None:
        self.log.append(Fact(effect.kind, effect.message.offset, self.epoch, effect.message.key, plan=True))
        if effect.until >= 0:
            self.ranges[len(self.log) - 1] = effect.until

    def ack(self, count: int) -> None:
        for _ in range(min(count, len(self.waiting))):
            effect = self.waiting[0]
            if effect.message.replay is None:
                super().ack(1)
                if self.part is not None:
                    self.part.live(effect.kind, effect.message.offset, effect.message.key)
                continue
            del self.waiting[0]
            assert self.part is not None
            self.log_it(effect)
            self.state.memory.passed(len(self.log) - 1)
            self.part.acked(effect)

    def crash(self, appended: int) -> None:
        for effect in self.waiting[:appended]:
            if effect.message.replay is not None:
                self.log_it(effect)
            else:
                self.log.append(self.write(effect)[0])
        self.take_over()

    def wake_up_late(self, appended: int) -> None:
        epoch, late = self.epoch, self.waiting[:appended]
        self.take_over()
        for effect in late:
            if effect.message.replay is None:
                self.log.append(effect.fact(epoch, 10**6, int(self.now * 1000)))
            else:
                self.log.append(Fact(effect.kind, effect.message.offset, epoch, effect.message.key, plan=True))
                if effect.until >= 0:
                    self.ranges[len(self.log) - 1] = effect.until

    def ended(self) -> dict[int, str]:
        """By the rule as it is written: the first valid one of each planned record."""
        plan = self.plan
        if plan is None:
            return {}
        listed, epoch = Listed(plan.options), Epoch(plan.in_force)
        for entry in plan.entries:
            listed.add(entry)
        found: dict[int, str] = {}
        for _place, fact in list(enumerate(self.log))[plan.outcomes :]:
            if not epoch.valid(fact.kind, fact.epoch) or not fact.plan:
                continue
            if fact.kind in (SKIPPED, CANCELLED):
                for at in range(len(listed)):
                    if fact.kind == CANCELLED or not listed.is_sent(at):
                        found.setdefault(plan.entries[at].offset, fact.kind)
            elif fact.kind in DISPOSITIONS:
                assert fact.offset not in found, "nothing ends twice"
                found[fact.offset] = fact.kind
        return found

    def nothing_ends_twice(self) -> None:
        assert self.ended().keys() <= (self.plan.offsets if self.plan else set())

    def what_was_not_to_be_sent_is_not(self) -> None:
        if self.plan is not None and self.part is not None:
            places = [self.part.listed.at(offset) for offset in self.plan.sent]
            assert all(at is not None and self.part.listed.is_sent(at) for at in places)

    def run_dry(self) -> None:
        if self.plan is not None:
            assert self.part is not None
            self.part.quota = self.plan.quota = None
        for _ in range(4):
            super().run_dry()
            for _ in range(3 * len(self.events) + 20):
                self.now += 10
                self.offer(8)
                for offset in sorted(self.resent):
                    self.answer_one_replayed(offset, None)
                self.end()
                if self.waiting:
                    self.ack(len(self.waiting))

    def teardown(self) -> None:
        super().teardown()
        if self.plan is None or self.part is None:
            return
        assert self.ended().keys() == self.plan.offsets, "each planned record has its disposition"
        assert self.part.listed.left == 0
        assert self.part.listed.counts == self.counted_anew()
        assert self.part.idle
        assert self.part.wake_at() is None or self.plan.cancelled

    def counted_anew(self) -> Counter[str]:
        assert self.plan is not None
        listed, epoch = Listed(self.plan.options), Epoch(self.plan.in_force)
        for entry in self.plan.entries:
            listed.add(entry)
        for place, fact in list(enumerate(self.log))[self.plan.outcomes :]:
            if epoch.valid(fact.kind, fact.epoch) and fact.plan:
                listed.fold(fact.kind, fact.offset, self.ranges.get(place, -1))
        return listed.counts


#: What a walk does next, by weight.
WEIGHTS = {
    "append": 10,
    "deliver": 14,
    "take": 14,
    "answer": 8,
    "put_back": 2,
    "ack": 16,
    "tick": 5,
    "checkpoint": 3,
    "redrive": 2,
    "obey": 4,
    "release": 4,
    "flush": 1,
    "crash": 3,
    "wake_up_late": 1,
    "half_a_takeover": 1,
    "freeze": 8,
    "look": 4,
    "offer": 14,
    "answer_replayed": 14,
    "not_sent": 2,
    "lose": 1,
    "confirm": 1,
    "cancel": 1,
    "end": 4,
}
_KEYS = [b"a", b"a", b"b", b"c", None]


class Walk:
    """One machine, led at random: denser than what hypothesis draws, and a seed says it all."""

    def __init__(self, seed: int, plans: int = 3) -> None:
        self.random, self.plans = random.Random(seed), plans
        self.machine = ReplayedPartition()
        self.machine.begin()

    def run(self, steps: int) -> None:
        names, weights = list(WEIGHTS), list(WEIGHTS.values())
        for _ in range(steps):
            getattr(self, f"_{self.random.choices(names, weights)[0]}")()
            self.check()
        self.machine.teardown()

    def check(self) -> None:
        machine = self.machine
        machine.position_never_passes_an_unfinished_event()
        machine.each_message_is_finished_once()
        machine.no_command_acts_twice()
        machine.a_flush_gives_up_what_it_means_and_is_done_only_then()
        machine.order_of_each_key_is_kept()
        machine.what_may_have_arrived_is_marked()
        machine.the_window_is_bounded()
        machine.a_held_key_is_never_sent()
        machine.followers_are_parked_in_order()
        machine.nothing_ends_twice()
        machine.what_was_not_to_be_sent_is_not()

    def _append(self) -> None:
        if len(self.machine.events) < 40:
            self.machine.append([(self.random.choice(_KEYS), self.random.choice([0, 0, 1, 3]), None)])

    def _deliver(self) -> None:
        self.machine.deliver(self.random.choice([1, 2, 6]))

    def _take(self) -> None:
        self.machine.take(self.random.randint(1, 3), self.random.random() < 0.5)

    def _answer(self) -> None:
        if self.machine.under_way:
            self.machine.answer_one(self.random.choice(sorted(self.machine.under_way)), self.random.choice(ERRORS))

    def _put_back(self) -> None:
        machine = self.machine
        if machine.under_way:
            message = machine.under_way.pop(self.random.choice(sorted(machine.under_way)))
            machine.sent.remove((message.offset, message.redelivery))
            machine.state.put_back(message)

    def _ack(self) -> None:
        if self.machine.waiting:
            self.machine.ack(self.random.randint(1, 5))

    def _tick(self) -> None:
        self.machine.tick(self.random.choice([0.01, 0.3, 4.0]))

    def _checkpoint(self) -> None:
        self.machine.checkpoint()

    def _redrive(self) -> None:
        letters = [offset for offset, (_, said) in self.machine.parked.items() if said == "dead_lettered"]
        if letters:
            kind = self.random.choice(["redriven", "redriven", "discarded"])
            self.machine.commands.append((kind, self.random.choice(letters)))

    def _obey(self) -> None:
        self.machine.obey()

    def _release(self) -> None:
        self.machine.release(self.random.randint(1, 3))

    def _flush(self) -> None:
        if self.machine.events and self.random.random() < 0.3:
            self.machine.flush(self.random.randint(0, 6))

    def _crash(self) -> None:
        self.machine.crash(self.random.randint(0, 3))

    def _wake_up_late(self) -> None:
        self.machine.wake_up_late(self.random.randint(1, 3))

    def _half_a_takeover(self) -> None:
        self.machine.crash_between_the_epoch_and_its_mark()

    def _freeze(self) -> None:
        machine, draw = self.machine, self.random.random
        over = machine.part is not None and not machine.part.listed.left
        if over and self.plans > 0 and not machine.waiting and not machine.resent:
            machine.plan = machine.part = None
        if machine.plan is None and len(machine.events) > 3:
            self.plans -= 1
            chosen = [offset for offset in sorted(machine.events) if draw() < 0.6] or [min(machine.events)]
            machine.frozen(chosen, ReplayOptions(force=draw() < 0.5, allow_superseded=draw() < 0.2), None)
            if draw() < 0.3:
                machine.plan.quota = machine.part.quota = 2  # type: ignore[attr-defined]

    def _look(self) -> None:
        if self.machine.part is not None:
            self.machine.look(self.random.randint(1, 4))

    def _offer(self) -> None:
        self.machine.offer(self.random.choice([1, 2, 6]))

    def _answer_replayed(self) -> None:
        if self.machine.resent:
            error = self.random.choice([*ERRORS, None, None, None])
            self.machine.answer_one_replayed(self.random.choice(sorted(self.machine.resent)), error)

    def _not_sent(self) -> None:
        if self.machine.resent:
            self.machine.withdraw(self.random.choice(sorted(self.machine.resent)))

    def _lose(self) -> None:
        self.machine.events_are_gone()

    def _confirm(self) -> None:
        if self.machine.plan is not None:
            self.machine.confirm()

    def _cancel(self) -> None:
        if self.machine.plan is not None and self.random.random() < 0.2:
            self.machine.cancel()

    def _end(self) -> None:
        self.machine.end()


#: Steps of a walk; and of all walks together, of which ``make interleavings`` asks for more.
LENGTH, STEPS = 300, int(os.environ.get("LINKSPAN_STEPS", "12000"))
BASE = 0 if os.environ.get("CI") else random.randrange(10**6)


@pytest.mark.parametrize("part", range(4))
def test_a_replay_beside_live_delivery_breaks_no_promise(part: int) -> None:
    for number in range(max(1, STEPS // LENGTH // 4)):
        seed = BASE + 10**6 * part + number
        try:
            Walk(seed).run(LENGTH)
        except BaseException as error:
            error.add_note(f"Walk({seed})")
            raise
