"""What holds the event loop up: a thread looks at it, and takes down its stack when it does not answer."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from types import FrameType

from linkspan.kernel.message import now_micros

#: Seconds: the loop is asked so often, and stalls when it has not answered for so long.
ASKED, STALL = 0.05, 0.1
#: The longest that are remembered, and the innermost frames of each.
LONGEST, FRAMES = 50, 30


@dataclass(frozen=True, slots=True)
class Stall:
    """``took``: seconds; ``at``: microseconds since 1970, when it ended; ``stack``: where the loop was when it was
    found to be late, outermost first, and so what it was busy with then."""

    took: float
    at: int
    stack: str


class StallWatch:
    """Of the event loop that it is made in, from then on until ``stop``; it costs 20 callbacks a second."""

    def __init__(self) -> None:
        self._loop, self._thread_id = asyncio.get_running_loop(), threading.get_ident()
        self._found: list[tuple[float, int, Stall]] = []
        self._serial = itertools.count()
        self._answered = time.monotonic()
        self._ended = threading.Event()
        self._timer = self._loop.call_later(ASKED, self._answer)
        self._thread = threading.Thread(target=self._watch, name="linkspan-stalls", daemon=True)
        self._thread.start()

    def longest(self, count: int) -> list[Stall]:
        """The longest first."""
        return [one for _, _, one in heapq.nlargest(count, self._found)]

    def stop(self) -> None:
        """In its event loop; what was found stays."""
        self._ended.set()
        self._timer.cancel()

    def _answer(self) -> None:
        self._answered = time.monotonic()
        self._timer = self._loop.call_later(ASKED, self._answer)

    def _watch(self) -> None:
        began, stack = 0.0, ""
        while not self._ended.wait(ASKED / 2):
            answered = self._answered
            if stack and answered != began:
                self._add(answered - began - ASKED, stack)
                stack = ""
            if not stack and time.monotonic() - answered >= ASKED + STALL:
                frame = sys._current_frames().get(self._thread_id)  # noqa: SLF001 - there is no other way to it
                # What it waits for is no stall: it answered just now.
                if frame is not None and self._answered == answered:
                    began, stack = answered, _stack(frame)

    def _add(self, took: float, stack: str) -> None:
        entry = took, next(self._serial), Stall(took, now_micros(), stack)
        if len(self._found) < LONGEST:
            heapq.heappush(self._found, entry)
        else:
            heapq.heappushpop(self._found, entry)


def _stack(frame: FrameType) -> str:
    summary = traceback.StackSummary.extract(traceback.walk_stack(frame), limit=FRAMES, lookup_lines=False)
    return "\n".join(f"{one.filename}:{one.lineno} {one.name}" for one in reversed(summary))
