"""Which event may be sent next: one of a plan at a time, in order. Pure logic, no clock and no I/O."""

from __future__ import annotations

import heapq
from collections import deque


class Lanes:
    """Events by number; ``taken`` ones wait for their answer and hold back the later ones of their plan."""

    def __init__(self) -> None:
        self._lanes: dict[str, deque[int]] = {}
        self._plans: dict[int, str] = {}
        self._ready: list[int] = []
        self._taken: set[int] = set()

    def __len__(self) -> int:
        return len(self._plans)

    def taken(self) -> int:
        return len(self._taken)

    def add(self, n: int, plan_id: str) -> None:
        lane = self._lanes.setdefault(plan_id, deque())
        lane.append(n)
        self._plans[n] = plan_id
        if len(lane) == 1:
            heapq.heappush(self._ready, n)

    def take(self) -> int | None:
        """The oldest event that may be sent; None where every plan waits or there is none."""
        if not self._ready:
            return None
        n = heapq.heappop(self._ready)
        self._taken.add(n)
        return n

    def is_taken(self, n: int) -> bool:
        return n in self._taken

    def answered(self, n: int) -> None:
        """Lets the next of the plan go; ``n`` is the first of its plan, sent on this connection or on a former one."""
        if n not in self._plans:
            return
        plan_id = self._plans.pop(n)
        lane = self._lanes[plan_id]
        lane.popleft()
        if n in self._taken:
            self._taken.discard(n)
        else:  # given back meanwhile, so it stands in the queue
            self._ready.remove(n)
            heapq.heapify(self._ready)
        if lane:
            heapq.heappush(self._ready, lane[0])
        else:
            del self._lanes[plan_id]

    def put_back(self) -> None:
        """The connection is gone: whatever was not answered is to be sent again."""
        for n in self._taken:
            heapq.heappush(self._ready, n)
        self._taken.clear()
