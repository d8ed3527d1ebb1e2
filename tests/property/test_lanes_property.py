"""Which head goes next: urgency acts between keys, never within one, and cannot keep anything back for ever."""

from __future__ import annotations

from collections import defaultdict
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from linkspan.egress.partition.lanes import Lanes, Message
from linkspan.kernel.records.urgency import CRITICAL, LOW, NORMAL

STEP, WINDOW = 5, 12
#: What arrives (key, urgency), and how many are handed out and released before the next does.
ARRIVALS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, CRITICAL), st.integers(0, 3)), max_size=150)


class Stream:
    """Messages of several keys through lanes, at most ``WINDOW`` at once. ``waits``: of each message that went, the
    dispatches since its lane's former message was released."""

    def __init__(self) -> None:
        self.lanes = Lanes(STEP)
        self.gone: list[Message] = []
        self.waits: dict[int, int] = {}
        self._unfinished: dict[bytes, list[Message]] = defaultdict(list)
        self._ready_at: dict[int, int] = {}
        self._offsets = count()

    def __len__(self) -> int:
        return sum(len(lane) for lane in self._unfinished.values())

    def add(self, key: int, urgency: int) -> Message:
        message = Message(next(self._offsets), b"%d" % key, None, urgency=urgency)
        lane = self._unfinished[b"%d" % key]
        lane.append(message)
        if len(lane) == 1:
            self._ready_at[message.offset] = len(self.gone)
        self.lanes.add(message)
        return message

    def go(self, budget: int) -> None:
        for message in (one for _ in range(budget) for one in self.lanes.take(1, 0.0)):
            self.waits[message.offset] = len(self.gone) - self._ready_at[message.offset]
            self.gone.append(message)
            lane = self._unfinished[message.key or b""]
            assert lane.pop(0) is message, "a message overtook another of its key"
            self.lanes.release(message)
            if lane:
                self._ready_at[lane[0].offset] = len(self.gone)


@given(ARRIVALS)
@settings(max_examples=300, deadline=None)
def test_order_within_a_key_is_kept_and_no_wait_exceeds_its_bound(arrivals: list[tuple[int, int, int]]) -> None:
    stream = Stream()
    for key, urgency, budget in arrivals:
        if len(stream) < WINDOW:
            stream.add(key, urgency)
        stream.go(budget)
    stream.go(WINDOW)
    assert len(stream) == 0
    for message in stream.gone:
        assert stream.waits[message.offset] <= (CRITICAL - message.urgency) * STEP + WINDOW


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3)), max_size=100))
def test_of_one_urgency_they_go_in_the_order_in_which_they_became_ready(arrivals: list[tuple[int, int]]) -> None:
    for urgency in (LOW, NORMAL, CRITICAL):
        stream, same = Stream(), Stream()
        for key, budget in arrivals:
            stream.add(key, urgency)
            same.add(key, NORMAL)
            stream.go(budget)
            same.go(budget)
        assert [one.offset for one in stream.gone] == [one.offset for one in same.gone]


def test_critical_goes_before_what_became_ready_long_before_it() -> None:
    stream = Stream()
    low = [stream.add(key, LOW) for key in range(STEP)]
    critical = stream.add(STEP, CRITICAL)
    stream.go(STEP + 1)
    assert stream.gone == [critical, *low]


def test_a_steady_critical_stream_lets_the_head_go_in_time() -> None:
    stream = Stream()
    low = stream.add(0, LOW)
    for key in range(1, 100):
        stream.add(key, CRITICAL)
        stream.go(1)
    assert stream.gone.index(low) == CRITICAL * STEP


def test_a_critical_message_waits_for_the_low_ones_of_its_key() -> None:
    stream = Stream()
    first, other, second = stream.add(0, LOW), stream.add(1, NORMAL), stream.add(0, CRITICAL)
    stream.go(3)
    assert stream.gone == [other, first, second]


def test_what_was_put_back_is_the_next_of_its_class() -> None:
    lanes = Lanes(STEP)
    normal = [Message(offset, b"%d" % offset, None) for offset in range(3)]
    for message in normal:
        lanes.add(message)
    (taken,) = lanes.take(1, 0.0)
    critical = Message(9, b"9", None, urgency=CRITICAL)
    lanes.add(critical)
    lanes.put_back(taken)
    (urgent,) = lanes.take(1, 0.0)
    lanes.put_back(urgent)
    assert list(lanes.take(4, 0.0)) == [critical, *normal]


def test_an_urgent_head_that_was_put_back_alone_goes_first_all_the_same() -> None:
    lanes = Lanes(STEP)
    urgent, normal, later = (Message(offset, b"%d" % offset, None, urgency=NORMAL) for offset in range(3))
    urgent.urgency = CRITICAL
    for message in (urgent, normal, later):
        lanes.add(message)
    assert list(lanes.take(2, 0.0)) == [urgent, normal]
    lanes.put_back(urgent)
    assert list(lanes.take(2, 0.0)) == [urgent, later]
