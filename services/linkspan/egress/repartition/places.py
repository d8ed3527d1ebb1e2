"""Where each event of the source stands in the target."""

from __future__ import annotations

from array import array
from collections.abc import Mapping

_ABSENT = -1


class Places:
    """``partitions``: of the target; ``spans``: (first, end) offset of each partition of the source."""

    def __init__(self, partitions: int, spans: Mapping[int, tuple[int, int]]) -> None:
        self._partitions = partitions
        self._firsts = {number: first for number, (first, _) in spans.items()}
        self._places = {number: array("q", [_ABSENT]) * max(0, end - first) for number, (first, end) in spans.items()}
        self._ids = {number: array("Q", bytes(8)) * max(0, end - first) for number, (first, end) in spans.items()}
        #: Of events that were copied by a run before, and are gone from the source by their age since.
        self._gone: dict[tuple[int, int], int] = {}

    def put(self, number: int, offset: int, target: int, at: int) -> None:
        place, index = at * self._partitions + target, offset - self._firsts[number]
        if index < 0:
            self._gone[number, offset] = place
        else:
            self._places[number][index] = place

    def name(self, number: int, offset: int, message_id: int) -> None:
        """64 bits of the message id of an event."""
        self._ids[number][offset - self._firsts[number]] = message_id

    def get(self, number: int, offset: int, message_id: int | None = None) -> tuple[int, int] | None:
        """Partition and offset in the target; None where the event is not there, or has another id."""
        index = offset - self._firsts[number]
        if index < 0:
            place = self._gone.get((number, offset), _ABSENT)
        elif index < len(self._places[number]):
            place, known = self._places[number][index], self._ids[number][index]
            if message_id is not None and known and known != message_id:
                return None
        else:
            return None
        return None if place == _ABSENT else (place % self._partitions, place // self._partitions)
