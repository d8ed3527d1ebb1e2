"""A replay beside live delivery under random interleavings, with crashes and takeovers at any step."""

import os
import random

import pytest
from tests.property.partition_model import ERRORS, KEYS
from tests.property.replayed_partition import ReplayedPartition

from linkspan.kernel.records.plan import ReplayOptions

pytestmark = pytest.mark.timeout(1200)

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
            self.machine.append([(self.random.choice(KEYS), self.random.choice([0, 0, 1, 3]), None)])

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
