"""A worker folds what its group assigns to it, whatever of Kafka and the database comes and goes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import structlog
from aiokafka.errors import KafkaError
from sqlalchemy.exc import SQLAlchemyError

from linkspan.kernel.errors import UserMistake
from linkspan.kernel.telemetry import metrics
from linkspan.ledger.assignment import Assignment
from linkspan.ledger.follow import Follower
from linkspan.ledger.keep import Keeper
from linkspan.ledger.streams import Closed
from linkspan.readmodel.away import DatabaseAway
from linkspan.readmodel.database import Database

log = structlog.get_logger()

#: Between tries while something is away, seconds.
_FIRST, _LONGEST = 0.5, 5.0
#: Another worker may speak of them from now on.
_OF_FLOWS = (
    metrics.LEDGER_LAG,
    metrics.LEDGER_UNACCOUNTED,
    metrics.DEAD_LETTERS_WAITING,
    metrics.DEAD_LETTER_OLDEST_SECONDS,
)


class Worker:
    """``run`` until cancelled. ``begun`` is set when it folds for the first time."""

    def __init__(
        self, database: Database, integration: str, assignment: Assignment, make: Callable[[], Follower], days: float
    ) -> None:
        self._database, self._integration, self._assignment, self._make = database, integration, assignment, make
        self._days, self._wait = days, _FIRST
        self._trouble: str | None = "not yet begun"
        self.begun = asyncio.Event()
        self.lag: int | None = None

    async def ready(self) -> str | None:
        return self._trouble or self._assignment.trouble

    async def run(self) -> None:
        """Raises UserMistake where the database belongs to another integration."""
        prepared = False
        while True:
            try:
                if not prepared:
                    await asyncio.to_thread(self._database.prepare, self._integration)
                    prepared = True
                await self._assigned()
                await self._follow()
                continue
            except Closed as error:
                metrics.LEDGER_FAILURES.labels("offsets").inc()
                log.info("what is folded is read again", why=str(error))
            except (DatabaseAway, SQLAlchemyError) as error:
                self._failed("database", f"the database: {error}", error)
            except (KafkaError, OSError, TimeoutError) as error:
                self._failed("kafka", f"Kafka: {error!r}", error)
            await asyncio.sleep(self._wait * random.uniform(0.5, 1.0))  # noqa: S311 - so that workers do not meet again
            self._wait = min(_LONGEST, self._wait * 2)

    def _failed(self, what: str, trouble: str, error: Exception) -> None:
        metrics.LEDGER_FAILURES.labels(what).inc()
        if self._trouble != trouble:
            log.warning("nothing is folded", what=what, error=str(error))
        self._trouble = trouble

    def _stepped(self, lag: dict[str, int]) -> None:
        self._trouble, self._wait, self.lag = None, _FIRST, sum(lag.values())
        metrics.LEDGER_STEPPED.set_to_current_time()
        for flow, behind in lag.items():
            metrics.LEDGER_LAG.labels(flow).set(behind)

    async def _assigned(self) -> None:
        while self._assignment.current is None:
            self._assignment.changed.clear()
            await self._assignment.changed.wait()

    async def _follow(self) -> None:
        """Until the assignment changes, or something fails."""
        assigned, changed = self._assignment.current, self._assignment.changed
        changed.clear()
        follower = self._make()
        try:
            await follower.open(follower.topics.names(assigned or ()))
            keeper = Keeper(self._database, follower.streams, self._days)
            log.info("folding", streams=len(follower.streams))
            while not changed.is_set():
                if follower.streams:
                    await follower.step()
                    await keeper.keep()
                else:
                    await asyncio.sleep(0.2)
                self._stepped(follower.lag())
                self.begun.set()
        except UserMistake as error:
            raise KafkaError(str(error)) from error  # a topic is missing: it may come yet
        finally:
            for metric in _OF_FLOWS:
                metric.clear()
            await follower.close()
