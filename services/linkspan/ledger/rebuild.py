"""Folds everything again beside the live build, and puts the new one in its place in one transaction."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar, TypeVarTuple

import structlog
from aiokafka.errors import KafkaError
from sqlalchemy import Connection, and_, func, insert, select, update

from linkspan.kernel.errors import UserMistake
from linkspan.kernel.message import now_micros
from linkspan.ledger.follow import Follower
from linkspan.ledger.gather import Said
from linkspan.ledger.keep import remove_old_build
from linkspan.ledger.streams import Closed, Name
from linkspan.readmodel.away import DatabaseAway
from linkspan.readmodel.database import Database, live_build
from linkspan.readmodel.digest import Digest, digest_of
from linkspan.readmodel.tables import BUILDING, CONVERSATIONS, LIVE, OLD, ledger, offsets

log = structlog.get_logger()

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

#: So few records behind the logs' ends it tries to take over; live folding waits meanwhile, at most so many seconds.
_NEAR, _SWITCH = 5_000, 30.0
_WAIT = 1.0
#: To find the live build no less far than the new one.
_TRIES = 30
_SAY = 1.0

#: (offsets of events and of outcomes), by stream.
Targets = Mapping[Name, tuple[int, int]]
#: Told how many records were folded, and how many are left.
Say = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """``before`` and ``after``: digests of the live build and the new one at the same offsets, where that was asked."""

    build: int
    records: int
    before: Digest | None = None
    after: Digest | None = None

    @property
    def same(self) -> bool:
        return self.before is not None and self.after is not None and self.before.digest == self.after.digest


class _Ahead(Exception):
    """The new build has more than the live one, which cannot be compared."""


class Rebuild:
    """``run`` may be interrupted: the next one goes on from what was committed, unless it is to ``restart``."""

    def __init__(self, database: Database, integration: str, make: Callable[[int], Follower], say: Say) -> None:
        self._database, self._integration, self._make, self._say = database, integration, make, say
        self._records = 0
        self._said = 0.0

    async def run(self, *, restart: bool = False, verify: bool = False) -> Rebuilt:
        """Raises UserMistake where another rebuild runs, or topics are missing; what is away is waited for."""
        await asyncio.to_thread(self._database.prepare, self._integration)
        build = await self._database.write(lambda connection: begin(connection, self._integration, restart=restart))
        while True:
            follower = self._make(build)
            try:
                await follower.open(await follower.everything())
                rebuilt = await self._follow(follower, build, verify=verify)
            except Closed as error:
                raise UserMistake(f"another linkspan ledger rebuild is folding build {build} ({error})") from error
            except (DatabaseAway, KafkaError, OSError, TimeoutError) as error:
                log.warning("the rebuild waits", error=str(error) or repr(error))
                await asyncio.sleep(_WAIT)
            else:
                return rebuilt
            finally:
                await follower.close()

    async def clean(self) -> None:
        """Removes what was replaced. Raises DatabaseAway; a worker does it too, later."""
        more = True
        while more:
            more = await self._database.write(remove_old_build)
            await asyncio.sleep(0.01)  # others write, too

    async def _follow(self, follower: Follower, build: int, *, verify: bool) -> Rebuilt:
        while True:
            before = follower.folded
            await follower.step()
            self._records += follower.folded - before
            left = await self._left(follower)
            self._tell(left)
            if left <= _NEAR:
                return await self._taken_over(follower, build, verify=verify)
            await asyncio.sleep(0.02)  # SQLite has one writer: the live one gets its turn

    async def _left(self, follower: Follower) -> int:
        ends = await follower.log_ends()
        total = 0
        for name, stream in follower.streams.items():
            events, outcomes = ends[name]
            total += max(0, events - stream.progress.events)
            total += 0 if name[0] == CONVERSATIONS else max(0, outcomes - stream.progress.outcomes)
        return total

    def _tell(self, left: int) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._said >= _SAY or not left:
            self._said = now
            self._say(self._records, left)

    async def _taken_over(self, follower: Follower, build: int, *, verify: bool) -> Rebuilt:
        """Raises UserMistake where nobody folds the live build, so that it cannot be compared."""
        for _ in range(_TRIES):
            try:
                return await self._switch(follower, build, verify=verify)
            except _Ahead:
                await asyncio.sleep(_WAIT)
        raise UserMistake("the live ledger is behind and does not go on: start linkspan ledger, or leave --verify away")

    async def _switch(self, follower: Follower, build: int, *, verify: bool) -> Rebuilt:
        """Raises _Ahead, and then nothing has happened."""
        async with _transaction(self._database) as connection:
            live = await _in_thread(close_live, connection)
            ends = await follower.log_ends()  # asked only now: the live build is not further
            targets = {name: _first(live[name], ends[name]) for name in live.keys() & ends.keys()}
            if verify and any(_beyond(follower, name, target) for name, target in targets.items()):
                raise _Ahead
            async with asyncio.timeout(_SWITCH):
                await self._catch_up(connection, follower, targets if verify else ends)
            old = await _in_thread(live_build, connection)
            before = after = None
            if verify and old is not None:
                before = await _in_thread(digest_of, connection, old)
                after = await _in_thread(digest_of, connection, build)
            await _in_thread(take_over, connection, build)
        self._say(self._records, 0)
        return Rebuilt(build, self._records, before, after)

    async def _catch_up(self, connection: Connection, follower: Follower, targets: Targets) -> None:
        """Up to there, and no record further."""
        while any(_short(follower, name, target) for name, target in targets.items()):
            said = {name: _below(one, targets.get(name, (0, 0))) for name, one in (await follower.gather()).items()}
            if said:
                await _in_thread(follower.folding.fold_within, connection, said)
                self._records += sum(map(len, said.values()))


def begin(connection: Connection, integration: str, *, restart: bool) -> int:
    """The number of the build that is to be folded: one that was begun before, or a new one."""
    begun = connection.scalar(select(ledger.c.build).where(ledger.c.state == BUILDING))
    if begun is not None and not restart:
        return int(begun)
    if begun is not None:
        connection.execute(update(ledger).where(ledger.c.build == begun).values(state=OLD))
        connection.execute(update(offsets).where(offsets.c.build == begun).values(closed=True))
    build = int(connection.scalar(select(func.max(ledger.c.build))) or 0) + 1
    connection.execute(
        insert(ledger).values(build=build, state=BUILDING, integration=integration, started_at=now_micros())
    )
    return build


def close_live(connection: Connection) -> Targets:
    """Nobody commits to the live build any more once this is committed; until then whoever wants to waits. Where it
    is."""
    here = offsets.c.build == select(ledger.c.build).where(ledger.c.state == LIVE).scalar_subquery()
    connection.execute(update(offsets).where(here).values(closed=True))
    columns = (offsets.c.flow, offsets.c.partition, offsets.c.events, offsets.c.outcomes)
    return {(flow, number): (at, told) for flow, number, at, told in connection.execute(select(*columns).where(here))}


def _first(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    """A topic that was made anew is shorter than what was folded of it."""
    return min(one[0], other[0]), min(one[1], other[1])


def take_over(connection: Connection, build: int) -> None:
    connection.execute(update(ledger).where(ledger.c.state == LIVE).values(state=OLD))
    here = and_(ledger.c.build == build, ledger.c.state == BUILDING)
    if connection.execute(update(ledger).where(here).values(state=LIVE, finished_at=now_micros())).rowcount != 1:
        raise Closed(f"build {build} was given up")


def _short(follower: Follower, name: Name, target: tuple[int, int]) -> bool:
    progress = follower.streams[name].progress
    return progress.events < target[0] or (name[0] != CONVERSATIONS and progress.outcomes < target[1])


def _beyond(follower: Follower, name: Name, target: tuple[int, int]) -> bool:
    progress = follower.streams[name].progress
    return progress.events > target[0] or (name[0] != CONVERSATIONS and progress.outcomes > target[1])


def _below(said: Said, target: tuple[int, int]) -> Said:
    """A record further on is for the worker that folds the new build next."""
    events, outcomes = target
    said.events = [one for one in said.events if one.event < events]
    said.outcomes = [one for one in said.outcomes if one.outcome < outcomes]
    said.conversations = [one for one in said.conversations if one.offset < events]
    said.conversations_read = min(said.conversations_read, events)
    said.events_read, said.outcomes_read = min(said.events_read, events), min(said.outcomes_read, outcomes)
    return said


@asynccontextmanager
async def _transaction(database: Database) -> AsyncIterator[Connection]:
    """``Database.writing`` over many steps, each in a thread."""
    stack = ExitStack()
    try:
        yield await _in_thread(stack.enter_context, database.writing())
    except BaseException:
        await _in_thread(stack.__exit__, *sys.exc_info())
        raise
    await _in_thread(stack.close)


async def _in_thread(work: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
    """Ends when the thread does, also where it is cancelled: a thread that went on would write past the rollback."""
    running = asyncio.get_running_loop().run_in_executor(None, work, *arguments)
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait({running})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return running.result()
    if failed := running.exception():
        log.debug("what was cancelled failed", error=repr(failed))
    raise cancelled
