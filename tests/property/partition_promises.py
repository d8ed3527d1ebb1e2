"""What the partition promises, looked at after every step of its model."""

from __future__ import annotations

from hypothesis.stateful import invariant
from tests.property.partition_model import LIMITS, PartitionModel

from linkspan.kernel.records.fact import FINISHING, Fact

NOTHING_AGAIN = frozenset({"delivered", "filtered", "superseded", "expired", "duplicate", "discarded"})


class Partition(PartitionModel):
    """``steps``: how many were looked at."""

    steps = 0

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
