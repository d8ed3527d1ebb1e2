"""Lanes: the messages of one key, one at a time, in order.

Among the lanes whose heads may go, the more urgent head goes first, with ageing: a head is as good as one that is a
class more urgent and became ready ``step`` dispatches later. So urgency overtakes at most so many classes * ``step``
dispatches, and a steady stream of urgent messages cannot keep the others, and with them the position, back for ever.
Counted in dispatches and not in seconds, the bound holds for slow destinations as for fast ones.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from linkspan.kernel.records.urgency import CRITICAL, NORMAL


class Message(msgspec.Struct, eq=False):
    """A fetched and unfinished event. ``record``, ``prepared``, ``doubt`` and ``measured`` belong to others and are not
    looked at; neither is ``replay``, which only what a replay sends again has.

    ``charged``: attempts spent so far; ``asked``: failures in a row that spent none. ``redelivery``: the destination
    may have seen it already. ``id``, ``digest``: 64 bits of each, None where the record names no id. ``released``: it
    comes from ``parked``; ``alone``: it held no key, and so keeps no order now. ``urgency``: ``LOW`` to ``CRITICAL``;
    ``rank``: of the heads that may go, the lowest goes.
    """

    offset: int
    key: bytes | None
    record: Any
    redelivery: bool = False
    charged: int = 0
    asked: int = 0
    tries: int = 0
    prepared: Any = None
    doubt: Any = None
    measured: Any = None
    id: int | None = None
    digest: int = 0
    accepted_at: int = 0
    released: bool = False
    alone: bool = False
    urgency: int = NORMAL
    rank: int = 0
    replay: Any = None

    @property
    def lane(self) -> bytes | int:
        """Messages without a key are lanes of their own."""
        return self.offset if self.key is None or self.alone else self.key


class Lanes:
    """Holds every message until its lane is ``released``; hands out at most one of each lane at a time."""

    def __init__(self, step: int = 1_000) -> None:
        self._lanes: dict[bytes | int, deque[Message]] = {}
        self._ready = [deque[Message]() for _ in range(CRITICAL + 1)]
        self._normal = self._ready[NORMAL]
        self._mixed = False
        self._step = step
        self._handed = 0
        self._waiting: list[tuple[float, int, Message]] = []

    def __len__(self) -> int:
        return len(self._lanes)

    def add(self, message: Message) -> None:
        lane = self._lanes.get(message.lane)
        if lane is None:
            self._lanes[message.lane] = deque((message,))
            self._queue(message)
        else:
            lane.append(message)

    def occupy(self, message: Message) -> bool:
        """It is the only one of its lane, and taken; False where there are others, or the event itself goes alone."""
        if message.lane in self._lanes or message.offset in self._lanes:
            return False
        self._lanes[message.lane] = deque((message,))
        return True

    def take(self, budget: int, now: float) -> Iterator[Message]:
        """The heads that may go now, each once, until it is put back, delayed or released."""
        while self._waiting and self._waiting[0][0] <= now:
            self._queue(heapq.heappop(self._waiting)[2])
        while budget > 0 and (queue := self._first() if self._mixed else self._normal):
            budget -= 1
            self._handed += 1
            yield queue.popleft()

    def _queue(self, message: Message) -> None:
        urgency = message.urgency
        message.rank = self._handed - urgency * self._step
        if urgency != NORMAL:
            self._mixed = True
        self._ready[urgency].append(message)

    def _first(self) -> deque[Message] | None:
        """Each queue is in order of rank, so only their heads are compared."""
        heads = [queue for queue in self._ready if queue]
        self._mixed = len(heads) != 1 or heads[0] is not self._normal
        return min(heads, key=_rank) if heads else None

    def hurry(self) -> None:
        """Heads that wait may go now."""
        waiting, self._waiting = self._waiting, []
        for _, _, message in sorted(waiting, key=lambda one: one[1]):
            self._queue(message)

    def put_back(self, message: Message) -> None:
        """A head that was taken and did not go after all: it is the next of its class."""
        self._mixed = self._mixed or message.urgency != NORMAL
        self._ready[message.urgency].appendleft(message)

    def delay(self, message: Message, until: float) -> None:
        heapq.heappush(self._waiting, (until, message.offset, message))

    def release(self, message: Message) -> None:
        """The head is finished: the next of its key may go."""
        lane = self._lanes[message.lane]
        lane.popleft()
        if lane:
            self._queue(lane[0])
        else:
            del self._lanes[message.lane]

    def dissolve(self, message: Message) -> list[Message]:
        """The head is finished, and its followers are not to be delivered now: they leave, in order."""
        _, *followers = self._lanes.pop(message.lane)
        return followers

    def withdraw(self, goes: Callable[[Message], bool]) -> list[Message]:
        """Those leave of which it is true; none of them may be taken. The next of each lane may go then."""
        found: list[Message] = []
        for name, lane in tuple(self._lanes.items()):
            leaving = [message for message in lane if goes(message)]
            if leaving:
                found += leaving
                self._leave(name, lane, set(map(id, leaving)))
        return found

    def _leave(self, name: bytes | int, lane: deque[Message], leaving: set[int]) -> None:
        head = lane[0]
        staying = deque(message for message in lane if id(message) not in leaving)
        if id(head) in leaving:
            self._waiting = [one for one in self._waiting if one[2] is not head]
            heapq.heapify(self._waiting)
            if head in self._ready[head.urgency]:
                self._ready[head.urgency].remove(head)
        if not staying:
            del self._lanes[name]
            return
        self._lanes[name] = staying
        if id(head) in leaving:
            self._queue(staying[0])

    def heads(self, message: Message) -> bool:
        """It is the one of its lane that goes, or went, first."""
        lane = self._lanes.get(message.lane)
        return lane is not None and lane[0] is message

    def ready(self) -> bool:
        return any(self._ready)

    def wake_at(self) -> float | None:
        """When the next waiting head may go; None where none waits."""
        return self._waiting[0][0] if self._waiting else None


def _rank(queue: deque[Message]) -> int:
    return queue[0].rank
