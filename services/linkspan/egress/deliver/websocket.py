"""Delivery by WebSocket: one connection a destination and process, answers matched by id."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import structlog

from linkspan.egress.deliver.adapter import Answered, Delivery
from linkspan.egress.deliver.frames import answer_error, read_answer, submit_frame
from linkspan.egress.deliver.pending import Pending, Sent
from linkspan.egress.deliver.socket import NotConnected, Socket, open_socket
from linkspan.egress.partition.answer import Unanswered, Withheld
from linkspan.kernel.errors import Unavailable
from linkspan.kernel.resilience.retry import RetryPolicy
from linkspan.kernel.spec import Deliver, System

log = structlog.get_logger()

#: How often overdue answers are looked for, seconds.
_SWEEP = 0.25
_AWAY = "not connected"


class WebSocketAdapter:
    """``open`` connects, and connects again whenever the connection ends; without one there is no capacity."""

    def __init__(self, system: System, deliver: Deliver) -> None:
        self.wake: Callable[[], None] = lambda: None
        self.together = 1
        self._system = system
        self._url = system.url.rstrip("/") + deliver.path
        self._limit = system.concurrency
        self._pending = Pending()
        self._queue: deque[Sent] = deque()
        self._queued = asyncio.Event()
        self._connection: Socket | None = None
        self._heard = 0.0
        self._trouble: str | None = _AWAY
        self._backoff = RetryPolicy(first=0.25, cap=15.0)
        self._again = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        self._tasks = [asyncio.create_task(self._stay_connected()), asyncio.create_task(self._sweep())]

    def away(self) -> str | None:
        return None if self._connection is not None else self._trouble or _AWAY

    def ask_now(self) -> None:
        self._again.set()

    def capacity(self) -> int:
        return 0 if self._connection is None else self._limit - len(self._pending)

    def submit(self, delivery: Delivery, answered: Answered) -> None:
        if self._connection is None:
            answered(delivery, Unavailable(self._trouble or _AWAY))
            return
        limit = self._system.timeout / 2 if delivery.attempt <= 1 else self._system.timeout
        now = asyncio.get_running_loop().time()
        self._send(self._pending.add(Sent(delivery, answered, now, now + limit)))

    def _send(self, sent: Sent | None) -> None:
        if sent is not None:
            self._queue.append(sent)
            self._queued.set()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2)
        self._lost("stopped before the answer")

    async def check(self) -> str | None:
        return self._trouble

    async def _stay_connected(self) -> None:
        failures = 0
        while True:
            try:
                connection = await open_socket(self._system, self._url)
                failures = 0
                await self._use(connection)
                trouble = f"the connection ended: {connection.ending}"
            except NotConnected as error:
                trouble = self._refused(error)
            except Exception as error:  # whatever it was, the next connection may work, and without one nothing goes
                log.exception("a connection broke", url=self._url)
                trouble = f"the connection broke: {error!r}"
            self._note(trouble)
            failures += 1
            self._again.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._backoff.delay(failures)):
                    await self._again.wait()

    async def _use(self, connection: Socket) -> None:
        self._connection = connection
        self._heard = asyncio.get_running_loop().time()
        self._note(None)
        writer = asyncio.create_task(self._write(connection))
        self.wake()
        try:
            await connection.use(self._answer)
        finally:
            self._connection = None
            writer.cancel()
            self._lost("the connection was lost before the answer")
            await connection.close()

    async def _write(self, connection: Socket) -> None:
        while True:
            await self._queued.wait()
            self._queued.clear()
            while self._queue:
                await connection.writable.wait()
                if self._queue and self._goes(sent := self._queue.popleft()):
                    connection.send(submit_frame(sent.delivery))

    def _goes(self, sent: Sent) -> bool:
        """It may have waited for a connection that takes nothing: then it is overdue, or not ours any more."""
        if not self._pending.holds(sent):
            return False
        if not sent.delivery.may_go():
            self._pending.take(sent.delivery.message_id)
            self._send(self._pending.follower(sent.delivery.message_id))
            sent.answered(sent.delivery, Withheld("not sent: the partition may belong to another replica by now"))
            return False
        sent.written = True
        return True

    def _answer(self, frame: bytes) -> None:
        self._heard = asyncio.get_running_loop().time()
        answer = read_answer(frame)
        sent = self._pending.take(answer.id) if answer else None
        if answer is None or sent is None:
            return  # to nothing that waits: late, repeated or unknown
        full = len(self._pending) + 1 >= self._limit
        self._send(self._pending.follower(answer.id))
        sent.answered(sent.delivery, answer_error(answer))
        if full:
            self.wake()

    def _lost(self, reason: str) -> None:
        self._queue.clear()
        for sent in self._pending.clear():
            sent.answered(sent.delivery, Unanswered(reason) if sent.written else Unavailable(reason))

    async def _sweep(self) -> None:
        """Answers what is overdue. A connection that said nothing all that time is given up."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP)
            silent = False
            for sent in self._pending.overdue(loop.time()):
                silent = silent or self._heard < sent.at
                self._send(self._pending.follower(sent.delivery.message_id))
                late = Unanswered("no answer in time") if sent.written else Unavailable("it could not be sent in time")
                sent.answered(sent.delivery, late)
            if silent and self._connection is not None:
                self._connection.abort()
                self._connection = None
            self.wake()

    def _refused(self, error: NotConnected) -> str:
        if error.status in (401, 403):
            return f"{self._url} refuses our credentials: {error.status}"
        if error.status is not None:
            return f"{self._url} refuses the connection: {error.status}"
        return f"no connection to {self._url}: {error}"

    def _note(self, trouble: str | None) -> None:
        """Logs when it changes."""
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if trouble:
            log.warning("destination away: delivery waits", url=self._url, reason=trouble)
        else:
            log.info("connected", url=self._url)
