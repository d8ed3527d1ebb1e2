"""The poller: reads the change feed of a rest system that does not send its messages by itself.

A page is taken in whole, acknowledged by Kafka, and then the cursor is written; until then nothing of it is kept, since
the feed still has it.
"""

from __future__ import annotations

import asyncio
import random

import structlog
from aiokafka.errors import KafkaError

from linkspan.ingress.accept.cursor import Cursor
from linkspan.ingress.accept.feed import Feed
from linkspan.ingress.accept.items import Items
from linkspan.ingress.errors import NotNow
from linkspan.kernel.errors import Unavailable
from linkspan.kernel.spec import Poll
from linkspan.kernel.telemetry.metrics import SOURCE_CONNECTED

log = structlog.get_logger()

#: Seconds until the next attempt after a failure: the first and the longest.
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0
#: A feed that asks for more than this (``Retry-After``) is asked again after an hour.
LONGEST_ASKED = 3600.0


class Poller:
    """``run`` reads until it is cancelled, while ``kafka`` is set."""

    def __init__(self, name: str, poll: Poll, feed: Feed, cursor: Cursor, items: Items, kafka: asyncio.Event) -> None:
        self._name, self._poll, self._feed, self._cursor = name, poll, feed, cursor
        self._items, self._kafka = items, kafka
        self._connected = SOURCE_CONNECTED.labels(name)
        self._trouble: str | None = None
        self._failures = 0

    async def run(self) -> None:
        try:
            while True:
                await self._kafka.wait()
                try:
                    await self._follow(await self._cursor.read() or self._poll.first)
                except (KafkaError, OSError, TimeoutError) as error:
                    self._say(f"its cursor cannot be kept: {error or type(error).__name__}")
                except Exception:
                    log.exception("polling broke", source=self._name)
                finally:
                    self._connected.set(0)
                    await self._cursor.close()
                await self._pause()
        finally:
            await self._feed.close()

    async def _follow(self, cursor: str) -> None:
        """Raises what writing the cursor does."""
        log.info("source is polled", source=self._name, after=cursor)
        while True:
            if not self._kafka.is_set():
                await self._cursor.close()
                await self._kafka.wait()
            try:
                page = await self._feed.page(cursor)
                await self._items.take(page)
            except (Unavailable, NotNow) as error:
                self._say(str(error))
                await self._pause(error.retry_after)
                continue
            if page.next != cursor:
                cursor = page.next
                await self._cursor.write(cursor)
            self._well()
            if not page.items:
                await self._sleep(self._poll.every * random.uniform(0.9, 1.1))  # noqa: S311 - jitter

    async def _pause(self, asked: float | None = None) -> None:
        self._failures += 1
        wait = min(FIRST_WAIT * 2.0 ** min(self._failures - 1, 32), LONGEST_WAIT)
        wait *= random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        await self._sleep(max(wait, min(asked or 0.0, LONGEST_ASKED)))

    async def _sleep(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (left := end - loop.time()) > 0:
            await asyncio.sleep(min(left, 1.0))
            if not self._kafka.is_set():
                await self._cursor.close()

    def _say(self, trouble: str) -> None:
        self._connected.set(0)
        if trouble != self._trouble:
            log.error("source cannot be polled", source=self._name, reason=trouble)
        self._trouble = trouble

    def _well(self) -> None:
        self._connected.set(1)
        self._failures = 0
        if self._trouble is not None:
            log.info("source is polled again", source=self._name)
            self._trouble = None
