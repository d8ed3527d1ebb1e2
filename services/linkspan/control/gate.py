"""Whether anything of a flow, or to a system, may be delivered now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from linkspan.control.fold import ControlState
from linkspan.control.tail import ControlTail


class Gate:
    """Closed until the control topic was read to its end, and while the flow or its destination is paused.

    ``flow`` empty: only the destination counts.
    """

    def __init__(self, tail: ControlTail, flow: str, destination: str) -> None:
        self._flow, self._destination = flow, destination
        self._opened: list[Callable[[], None]] = []
        self._open = asyncio.Event()
        self.closed = True
        tail.watch(self._look)

    def _look(self, state: ControlState) -> None:
        before, self.closed = self.closed, state.paused(self._flow, self._destination) is not None
        if self.closed:
            self._open.clear()
        elif before:
            self._open.set()
            for opened in self._opened:
                opened()

    def listen(self, opened: Callable[[], None]) -> None:
        """``opened`` is called whenever it opens."""
        self._opened.append(opened)

    async def opens(self) -> None:
        """Returns when it is open."""
        await self._open.wait()
