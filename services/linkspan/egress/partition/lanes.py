"""Lanes: the messages of one key, one at a time, in order; FIFO among the lanes whose head may go."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True, eq=False)
class Message:
    """A fetched and unfinished event. ``record``, ``prepared`` and ``doubt`` belong to others and are not looked at.

    ``charged``: attempts spent so far; ``asked``: failures in a row that spent none. ``redelivery``: the destination
    may have seen it already. ``id``, ``digest``: 64 bits of each, None where the record names no id. ``released``: it
    comes from ``parked``; ``alone``: it held no key, and so keeps no order now.
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
    id: int | None = None
    digest: int = 0
    accepted_at: int = 0
    released: bool = False
    alone: bool = False

    @property
    def lane(self) -> bytes | int:
        """Messages without a key are lanes of their own."""
        return self.offset if self.key is None or self.alone else self.key


class Lanes:
    """Holds every message until its lane is ``released``; hands out at most one of each lane at a time."""

    def __init__(self) -> None:
        self._lanes: dict[bytes | int, deque[Message]] = {}
        self._ready: deque[Message] = deque()
        self._waiting: list[tuple[float, int, Message]] = []

    def __len__(self) -> int:
        return len(self._lanes)

    def add(self, message: Message) -> None:
        lane = self._lanes.get(message.lane)
        if lane is None:
            self._lanes[message.lane] = deque((message,))
            self._ready.append(message)
        else:
            lane.append(message)

    def take(self, budget: int, now: float) -> Iterator[Message]:
        """The heads that may go now, each once, until it is put back, delayed or released."""
        while self._waiting and self._waiting[0][0] <= now:
            self._ready.append(heapq.heappop(self._waiting)[2])
        while budget > 0 and self._ready:
            budget -= 1
            yield self._ready.popleft()

    def put_back(self, message: Message) -> None:
        """A head that was taken and did not go after all: it is the next."""
        self._ready.appendleft(message)

    def delay(self, message: Message, until: float) -> None:
        heapq.heappush(self._waiting, (until, message.offset, message))

    def release(self, message: Message) -> None:
        """The head is finished: the next of its key may go."""
        lane = self._lanes[message.lane]
        lane.popleft()
        if lane:
            self._ready.append(lane[0])
        else:
            del self._lanes[message.lane]

    def dissolve(self, message: Message) -> list[Message]:
        """The head is finished, and its followers are not to be delivered now: they leave, in order."""
        _, *followers = self._lanes.pop(message.lane)
        return followers

    def ready(self) -> bool:
        return bool(self._ready)

    def wake_at(self) -> float | None:
        """When the next waiting head may go; None where none waits."""
        return self._waiting[0][0] if self._waiting else None
