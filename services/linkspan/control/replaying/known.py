"""Which replay a call means, and how it changes from now on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from linkspan.control.errors import NotFound, kafka_away, wrong
from linkspan.control.replays import Replay
from linkspan.control.tail import ControlTail
from linkspan.control.verdict import Verdict
from linkspan.kernel.commands import Command

#: A plan that another replica froze a moment ago is known here so soon, seconds.
_FOLDED = 2.0
_EVERY = 1.0


class KnownReplays:
    def __init__(self, tail: ControlTail) -> None:
        self._tail = tail

    def trouble(self) -> str | None:
        """None while what is known here is what the topic says."""
        return self._tail.trouble()

    async def get(self, plan: str) -> Replay:
        """Raises BadRequest, NotFound, Away."""
        if not plan:
            raise wrong("plan", "say which; ListReplays has them")
        if not self._tail.caught_up.is_set():
            raise kafka_away(f"what was planned is not known yet: {self._tail.trouble() or 'it is being read'}")
        found = self._tail.state.replays.get(plan)
        if found is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_FOLDED):
                    async for found in self._changes(plan):
                        if found is not None:
                            return found
            raise NotFound("NO_SUCH_PLAN", f"there is no plan {plan}; linkspan replay list shows them")
        return found

    async def started(self, plan: str) -> Replay:
        """As ``get``; another replica may have told of its start just now, so it is waited for a little."""
        found = await self.get(plan)
        if found.started is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_FOLDED):
                    async for changed in self._changes(plan):
                        if changed is not None and changed.started is not None:
                            return changed
        return found

    def newest(self) -> list[Replay]:
        """The newest first."""
        return list(self._tail.state.replays)[::-1]

    def active(self, flow: str) -> Replay | None:
        return self._tail.state.replays.active(flow)

    def missing(self, replay: Replay) -> list[str]:
        """Hashes of the transforms of then whose text nobody kept."""
        texts = self._tail.state.transforms
        return [one for one in replay.head.transforms if (replay.flow, one) not in texts]

    def texts(self, replay: Replay) -> dict[str, str]:
        """Of the transforms of then, by hash."""
        texts = self._tail.state.transforms
        return {one: texts[replay.flow, one] for one in replay.head.transforms if (replay.flow, one) in texts}

    async def follow(self, plan: str) -> AsyncIterator[Replay]:
        """At once, whenever a command changes it, and once a second; the last one has ended."""
        async for replay in self._changes(plan):
            if replay is not None:
                ended = not replay.active  # it may end while whoever asked looks at how it was
                yield replay
                if ended:
                    return

    async def _changes(self, plan: str) -> AsyncIterator[Replay | None]:
        changed = asyncio.Event()

        def heard(_offset: int, command: Command, _verdict: Verdict) -> None:
            if command.plan == plan:
                changed.set()

        self._tail.listen(heard)
        try:
            while True:
                changed.clear()
                yield self._tail.state.replays.get(plan)
                with suppress(TimeoutError):
                    async with asyncio.timeout(_EVERY):
                        await changed.wait()
        finally:
            self._tail.unlisten(heard)
