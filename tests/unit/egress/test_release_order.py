"""How a held key is released, step by step: what random interleavings reach too seldom."""

from __future__ import annotations

from linkspan.egress.partition.effect import Record
from linkspan.egress.partition.holds import Holds
from linkspan.egress.partition.lanes import Message
from linkspan.egress.partition.memory import Memory
from linkspan.egress.partition.state import PartitionState
from linkspan.egress.partition.window import WindowLimits
from linkspan.kernel.errors import Rejected
from linkspan.kernel.resilience.retry import RetryPolicy

KEY = b"k"


class Held:
    """A partition with one key, whose message 0 is a dead letter and 1 to ``followers`` are parked."""

    def __init__(self, followers: int = 0) -> None:
        self.state = PartitionState(RetryPolicy(), WindowLimits(), Memory(), 0)
        self.outcomes = self.copies = 0
        self.fetch(*range(followers + 1))
        self.ack(self.state.answered(self.deliver(), Rejected("no"), 0.0))
        self.ack(*self.state.effects())

    def fetch(self, *offsets: int) -> list[Record]:
        self.state.fetched([Message(offset, KEY, None) for offset in offsets])
        return self.state.effects()

    def heads(self) -> list[int]:
        found = list(self.state.next_deliveries(9, 0.0))
        for message in found:
            self.state.put_back(message)
        return [message.offset for message in found]

    def deliver(self) -> Message:
        (message,) = self.state.next_deliveries(1, 0.0)
        return message

    def ack(self, *effects: Record | None) -> None:
        for effect in effects:
            assert effect is not None
            parked = -1
            if effect.kind in ("dead_lettered", "held"):
                parked, self.copies = self.copies, self.copies + 1
            self.state.outcome_acked(effect, self.outcomes, parked)
            self.outcomes += 1

    def command(self, kind: str) -> None:
        self.ack(self.state.commanded(kind, Message(0, KEY, None), 0))

    def release(self, *offsets: int) -> None:
        (wanted,) = self.state.releases.wanted()
        self.state.releases.queue(wanted, [Message(offset, KEY, None) for offset in offsets])

    def delivered(self, offset: int) -> None:
        message = self.deliver()
        assert message.offset == offset
        self.ack(self.state.answered(message, None, 0.0))


def kinds(effects: list[Record]) -> list[tuple[str, int]]:
    return [(effect.kind, effect.message.offset) for effect in effects]


def test_redriven_the_letter_itself_comes_first() -> None:
    held = Held(followers=2)
    held.command("redriven")
    (wanted,) = held.state.releases.wanted()
    assert (wanted.after, wanted.last) == (-1, 2)


def test_discarded_its_first_follower_comes_first() -> None:
    held = Held(followers=2)
    held.command("discarded")
    (wanted,) = held.state.releases.wanted()
    assert (wanted.after, wanted.last) == (0, 2)


def test_what_arrives_before_all_that_waits_is_queued_is_parked_behind_it() -> None:
    held = Held(followers=2)
    held.command("redriven")
    held.release(0, 1)
    assert kinds(held.fetch(3)) == [("held", 3)]
    assert held.heads() == [0]


def test_what_arrives_while_a_follower_is_on_its_way_into_parked_is_parked_too() -> None:
    held = Held()
    (parking,) = held.fetch(1)
    held.command("redriven")
    held.release(0)
    assert kinds(held.fetch(2)) == [("held", 2)]
    held.delivered(0)
    assert held.state.effects() == [], "not open: one more is on its way into parked"
    held.ack(parking)
    (wanted,) = held.state.releases.wanted()
    assert (wanted.after, wanted.last) == (0, 1)


def test_what_arrives_after_all_that_waits_is_queued_follows_it() -> None:
    held = Held(followers=1)
    held.command("redriven")
    held.release(0, 1)
    assert held.fetch(2) == []
    held.delivered(0)
    held.delivered(1)
    assert kinds(held.state.effects()) == [("opened", 1)]
    held.delivered(2)


def test_a_letter_that_dies_again_keeps_what_was_queued_behind_it() -> None:
    held = Held(followers=2)
    held.command("redriven")
    held.release(0, 1, 2)
    assert held.fetch(3) == []
    held.ack(held.state.answered(held.deliver(), Rejected("no"), 0.0))
    assert kinds(held.state.effects()) == [("held", 3)], "1 and 2 are in parked already"
    assert held.heads() == []
    assert held.state.releases.wanted() == []


def test_what_was_on_its_way_out_under_a_former_owner_is_marked() -> None:
    held = Held(followers=2)
    held.command("redriven")
    held.release(0, 1)
    held.delivered(0)
    holds = {KEY: held.state.memory.holds[KEY]}
    held.state = PartitionState(RetryPolicy(), WindowLimits(), Memory(None, Holds(holds)), 0)
    held.release(1, 2)
    message = held.deliver()
    assert (message.offset, message.redelivery) == (1, True)
    held.ack(held.state.answered(message, None, 0.0))
    assert (held.deliver().redelivery, held.state.memory.holds[KEY].drained) == (False, 1)


def test_all_through_and_the_owner_dead_before_it_said_so_the_next_one_says_it() -> None:
    held = Held(followers=1)
    held.command("redriven")
    held.release(0, 1)
    held.delivered(0)
    held.delivered(1)
    holds = {KEY: held.state.memory.holds[KEY]}
    state = PartitionState(RetryPolicy(), WindowLimits(), Memory(None, Holds(holds)), 0)
    assert kinds(state.effects()) == [("opened", 1)]
