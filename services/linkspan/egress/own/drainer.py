"""Carries out redrives and discards, and hands what waited in ``parked`` back to its lanes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import takewhile

import structlog

from linkspan.egress.own.control import Inbox
from linkspan.egress.own.copies import Copies
from linkspan.egress.partition.effect import Record
from linkspan.egress.partition.state import PartitionState
from linkspan.egress.record.parked import copied
from linkspan.kernel.commands import DISCARD, FLUSH, REDRIVE, Command
from linkspan.kernel.records.fact import DISCARDED, REDRIVEN
from linkspan.kernel.records.parked import Copy

log = structlog.get_logger()

_EFFECTS = {REDRIVE: REDRIVEN, DISCARD: DISCARDED}
#: Commands that are looked up in one reading.
_MOST = 200
#: While a flush goes on it is looked so often for what came back from an attempt, seconds.
_SWEEP = 0.2
#: Kafka makes what was committed readable within milliseconds; seconds.
_SOON = 0.2
#: Copies that an outcome names and ``parked`` does not hold are looked for again after so many seconds.
_AGAIN = 5.0


class Drainer:
    """Of one partition. ``record`` appends an outcome; ``queued`` is called when lanes got messages; ``position`` gives
    the offset of the next fetch. ``waits``: for acks of outcomes, of which ``wake`` is to tell."""

    def __init__(
        self,
        state: PartitionState,
        copies: Copies,
        inbox: Inbox,
        record: Callable[[Record, int | None], None],
        queued: Callable[[], None],
        position: Callable[[], Awaitable[int]],
    ) -> None:
        self._state, self._copies, self._inbox = state, copies, inbox
        self._record, self._queued, self._position = record, queued, position
        for control, command in inbox.waiting:
            if command.kind == FLUSH:
                state.flush(command.offset, control)
        self._some = asyncio.Event()
        self._some.set()
        self.waits = False

    def wake(self) -> None:
        """Commands came, or outcomes were acked."""
        self._some.set()

    @property
    def waiting_command(self) -> int | None:
        """Offset of the first command that is not carried out yet."""
        return self._inbox.waiting[0][0] if self._inbox.waiting else None

    def settle(self) -> None:
        """Where nothing waits, a successor need not read again what was for others."""
        if not self._inbox.waiting:
            self._state.carried_out(self._inbox.heard_below)

    async def run(self) -> None:
        """Raises KafkaError."""
        try:
            while True:
                await self._some.wait()
                self._some.clear()
                while await self._commands() or await self._hand_over():
                    pass
                if not self._state.releases.busy:
                    await self._copies.close()
        finally:
            await self._copies.close()

    async def _commands(self) -> bool:
        """In their order, and the next ones only when the outcomes of these are acked."""
        waiting = self._inbox.waiting
        if waiting and waiting[0][1].kind == FLUSH:
            await self._flush(*waiting[0])
            waiting.popleft()
            return True
        first = [waiting[place] for place in range(min(_MOST, len(waiting)))]
        taken = list(takewhile(lambda one: one[1].kind != FLUSH, first))
        if not taken:
            return False
        copies = await self._found({command.offset for _, command in taken})
        decided: set[int] = set()
        last = -1
        for control, command in taken:
            while self._state.is_recording(command.offset):  # noqa: ASYNC110 - rare, and over in milliseconds
                await asyncio.sleep(0.01)
            effect = self._effect(control, command, copies.get(command.offset), decided)
            if effect is not None:
                decided.add(command.offset)
                last = control
                self._record(effect, None)
        self.waits = True
        while self._state.control <= last:
            await self._some.wait()
            self._some.clear()
        self.waits = False
        self._state.carried_out(taken[-1][0] + 1)
        for _ in taken:
            waiting.popleft()
        return True

    async def _found(self, offsets: set[int]) -> dict[int, Copy]:
        """A letter can be told of before its copy can be read: what is missing is looked for once more."""
        copies = await self._copies.find(offsets)
        if missing := offsets - copies.keys():
            await asyncio.sleep(_SOON)
            copies |= await self._copies.find(missing)
        return copies

    async def _flush(self, control: int, command: Command) -> None:
        """Until nothing that it means is unfinished: what is attempted just now ends first, and may come back."""
        told = {"flow": command.flow, "partition": command.partition, "until": command.offset, "by": command.by}
        log.info("command", command=command.kind, control=control, reason=command.reason, **told)
        self.waits = True
        while not self._state.flushed(command.offset, control, await self._position()):
            self._state.flush(command.offset, control)
            for effect in self._state.effects():
                self._record(effect, None)
            with suppress(TimeoutError):
                async with asyncio.timeout(_SWEEP):
                    await self._some.wait()
            self._some.clear()
        self.waits = False
        self._state.carried_out(control + 1)
        log.info("flushed", control=control, **told)

    def _effect(self, control: int, command: Command, copy: Copy | None, decided: set[int]) -> Record | None:
        kind = _EFFECTS.get(command.kind)
        if kind is None:
            return None
        if copy is None:
            refused: str | None = "there is no dead letter of this event"
        elif command.offset in decided:
            refused = "another command names it already"
        else:
            refused = self._state.memory.holds.letter(copy.offset, copy.key, dead=copy.dead)
        told = {"flow": command.flow, "partition": command.partition, "offset": command.offset, "by": command.by}
        if refused is not None or copy is None:
            log.warning("command refused", command=command.kind, control=control, reason=refused, **told)
            return None
        log.info("command", command=command.kind, control=control, reason=command.reason, **told)
        return self._state.commanded(kind, copied(copy), control)

    async def _hand_over(self) -> bool:
        """Whether anything was."""
        wanted, alone = self._state.releases.wanted(), self._state.releases.wanted_alone()
        some = False
        if wanted:
            found = await self._copies.next(wanted)
            for one in wanted:
                self._state.releases.queue(one, [copied(copy) for copy in found[one.key]])
                some |= bool(found[one.key])
        if alone:
            letters = await self._copies.find(alone)
            for copy in letters.values():
                self._state.releases.queue_alone(copied(copy))
            some |= bool(letters)
        if some:
            self._queued()
        elif wanted or alone:
            log.error("copies of parked messages are missing", keys=[one.key for one in wanted], offsets=alone[:10])
            await self._copies.close()  # where they were seen may be what is wrong
            await asyncio.sleep(_AGAIN)
            self._some.set()
        return some
