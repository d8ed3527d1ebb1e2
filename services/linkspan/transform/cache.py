"""What lookups found: the least recently used goes first, and each read makes an entry young again."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any


class FoundCache:
    """``entries`` at most, each for ``ttl`` seconds after it was written or read last."""

    def __init__(self, entries: int, ttl: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._entries, self._ttl, self._clock = entries, ttl, clock
        self._kept: OrderedDict[str, tuple[float, Any]] = OrderedDict()

    def get(self, key: str, otherwise: Any) -> Any:
        kept = self._kept.get(key)
        if kept is None:
            return otherwise
        now = self._clock()
        if now >= kept[0]:
            del self._kept[key]
            return otherwise
        self._kept[key] = now + self._ttl, kept[1]
        self._kept.move_to_end(key)
        return kept[1]

    def put(self, key: str, value: Any) -> None:
        now = self._clock()
        self._kept[key] = now + self._ttl, value
        self._kept.move_to_end(key)
        while len(self._kept) > self._entries or next(iter(self._kept.values()))[0] <= now:
            self._kept.popitem(last=False)

    def __len__(self) -> int:
        return len(self._kept)
