"""The same warning again and again is told a few times, and then counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from structlog.typing import EventDict, WrappedLogger

#: Lines about the same within so many seconds that are told; more are left out.
TOLD, WINDOW = 10, 10.0
_SAMPLED = ("warning", "error", "critical", "exception")
#: What makes two lines the same, beside level and message.
_SAME = ("service", "logger", "flow", "destination", "system", "source", "result", "failure")
#: Kinds of lines that are remembered at once.
_KINDS = 1_000

Same = tuple[object, ...]


@dataclass(slots=True)
class _Repeated:
    since: float
    first: EventDict
    count: int = 0

    @property
    def left_out(self) -> int:
        return max(0, self.count - TOLD)


class Repeats:
    """A processor for structlog. Of the warnings and errors about the same, 10 in 10 s are told; then one line says
    how many were left out (``leftOut``). ``each=True`` in a call: it is always told, as every one of them matters.

    ``tell`` writes such a line: it is called when the time is over and anything is logged, or ``overdue`` is called.
    """

    def __init__(self, tell: Callable[[EventDict], None], now: Callable[[], float] = time.monotonic) -> None:
        self._tell, self._now = tell, now
        self._seen: dict[Same, _Repeated] = {}
        self._over = float("inf")

    def __call__(self, _logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
        """Raises DropEvent where the line is left out."""
        each = event.pop("each", False)
        now = self._now()
        if now >= self._over:
            self.overdue()
        if each or event.get("level") not in _SAMPLED or "leftOut" in event:
            return event
        same = (event["level"], event.get("event"), *(event.get(name) for name in _SAME))
        found = self._seen.get(same)
        if found is None:
            if len(self._seen) >= _KINDS:
                return event
            found = self._seen[same] = _Repeated(now, dict(event))
            self._over = min(self._over, now + WINDOW)
        found.count += 1
        if found.count > TOLD:
            raise structlog.DropEvent
        return event

    def overdue(self) -> None:
        """Tells what was left out in the windows that are over, and begins new ones."""
        now = self._now()
        over = {same: one for same, one in list(self._seen.items()) if now - one.since >= WINDOW}
        for same in over:
            self._seen.pop(same, None)
        self._over = min((one.since + WINDOW for one in list(self._seen.values())), default=float("inf"))
        for one in over.values():
            if one.left_out:
                kept = {name: one.first[name] for name in ("level", "event", *_SAME) if one.first.get(name) is not None}
                self._tell(kept | {"leftOut": one.left_out, "seconds": round(now - one.since, 1)})
