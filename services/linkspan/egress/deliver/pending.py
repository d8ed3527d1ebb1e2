"""Deliveries that wait for their answers, by message id."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec

from linkspan.egress.deliver.adapter import Answered, Delivery


class Sent(msgspec.Struct, eq=False):
    """``at`` and ``deadline`` are the event loop's times; ``written``: the destination may have it."""

    delivery: Delivery
    answered: Answered
    at: float
    deadline: float
    written: bool = False


class Pending:
    """At most one of each id is with the destination, as an answer names nothing else; another one follows it."""

    def __init__(self) -> None:
        self._sent: dict[str, Sent] = {}
        self._followers: dict[str, deque[Sent]] = {}
        self._held = 0

    def __len__(self) -> int:
        return len(self._sent) + self._held

    def add(self, sent: Sent) -> Sent | None:
        """What is to be sent now: ``sent``, or nothing while its id is with the destination."""
        message_id = sent.delivery.message_id
        if message_id in self._sent:
            self._followers.setdefault(message_id, deque()).append(sent)
            self._held += 1
            return None
        self._sent[message_id] = sent
        return sent

    def holds(self, sent: Sent) -> bool:
        return self._sent.get(sent.delivery.message_id) is sent

    def take(self, message_id: str) -> Sent | None:
        return self._sent.pop(message_id, None)

    def follower(self, message_id: str) -> Sent | None:
        """After ``take``: the next of the same id, which is to be sent now."""
        if not self._followers:
            return None
        waiting = self._followers.get(message_id)
        if not waiting:
            return None
        sent = waiting.popleft()
        self._held -= 1
        if not waiting:
            del self._followers[message_id]
        self._sent[message_id] = sent
        return sent

    def overdue(self, now: float) -> list[Sent]:
        """Takes what should have been answered by ``now``."""
        found = [sent for sent in self._sent.values() if sent.deadline <= now]
        for sent in found:
            del self._sent[sent.delivery.message_id]
        return found

    def clear(self) -> Iterator[Sent]:
        """Everything."""
        sent, followers = list(self._sent.values()), [item for held in self._followers.values() for item in held]
        self._sent, self._followers, self._held = {}, {}, 0
        yield from sent
        yield from followers
