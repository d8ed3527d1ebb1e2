"""The lanes as a replay sees them: it may put a message where nothing else of its key is, and only to send it now."""

from __future__ import annotations

from collections import Counter

from linkspan.egress.partition.holds import Holds
from linkspan.egress.partition.lanes import Lanes, Message


class Offers:
    """Of one partition. ``below``: all earlier events were fetched, so that what is unfinished of them is in a lane.
    ``open`` is set once that holds for whatever a former owner may have had under way."""

    def __init__(self, holds: Holds, lanes: Lanes) -> None:
        self._holds, self._lanes = holds, lanes
        self._going: Counter[bytes | int] = Counter()
        self.below = 0
        self.open = False

    def held(self, key: bytes | None) -> bool:
        """It waits behind a dead letter that nobody has released."""
        return key is not None and key in self._holds and not self._holds[key].draining

    def take(self, message: Message) -> bool:
        """It has its lane for itself until it leaves; False where others of its key are unfinished, or may be."""
        if not self.open or message.offset >= self.below or message.lane in self._going:
            return False
        if message.key is not None and message.key in self._holds:
            return False
        return self._lanes.occupy(message)

    def given_up(self, message: Message) -> None:
        """By a flush; it may be in its lane no more, and is unfinished until it is ``gone``."""
        self._going[message.lane] += 1

    def gone(self, message: Message) -> None:
        """That it was given up stands in the log."""
        self._going[message.lane] -= 1
        if not self._going[message.lane]:
            del self._going[message.lane]
        if self._lanes.heads(message):
            self._lanes.release(message)

    def leave(self, message: Message) -> None:
        """What arrived behind it goes on."""
        self._lanes.release(message)
