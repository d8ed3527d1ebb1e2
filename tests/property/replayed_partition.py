"""The partition's model with a replay beside live delivery.

It goes on as it does without one; a plan is frozen from what its log says, and its part is worked through by whoever
owns the partition. Outcomes of both stand in one log.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

from tests.property.partition_model import ATTEMPTS
from tests.property.partition_promises import HoldingPartition

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

    def listed(self) -> Listed:
        listed = Listed(self.options)
        for entry in self.entries:
            listed.add(entry)
        return listed


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
        retry = RetryPolicy(ATTEMPTS, 1.0, 8.0, random.Random(1))
        self.part = part = Part(plan.listed(), plan.options, retry, self.state.offers, plan.quota)
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
        listed, epoch = plan.listed(), Epoch(plan.in_force)
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
        listed, epoch = self.plan.listed(), Epoch(self.plan.in_force)
        for place, fact in list(enumerate(self.log))[self.plan.outcomes :]:
            if epoch.valid(fact.kind, fact.epoch) and fact.plan:
                listed.fold(fact.kind, fact.offset, self.ranges.get(place, -1))
        return listed.counts
