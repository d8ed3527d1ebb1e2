"""Flushes that are not carried out yet: which events they give up."""

from __future__ import annotations

from linkspan.egress.partition.lanes import Message


class Flushes:
    """Of a partition. What waits in ``parked``, or comes from there, is not given up: discards do that; nor is what a
    replay sends, which a cancel ends."""

    def __init__(self) -> None:
        self._under_way: list[tuple[int, int]] = []

    def begin(self, until: int, control: int) -> None:
        """The command at ``control`` gives up all events below ``until``."""
        if all(control != other for _, other in self._under_way):
            self._under_way.append((until, control))

    def end(self, control: int) -> None:
        self._under_way = [one for one in self._under_way if one[1] != control]

    def giving_up(self, message: Message) -> int:
        """The command that gives it up; -1 where none does."""
        if not self._under_way or message.released or message.replay is not None:
            return -1
        return next((control for until, control in self._under_way if message.offset < until), -1)
