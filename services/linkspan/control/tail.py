"""The control topic as a process follows it: read from its beginning, folded, handed on, for as long as it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from linkspan.control.fold import ControlState
from linkspan.control.verdict import Verdict
from linkspan.kernel.commands import Command, CommandCodec
from linkspan.kernel.errors import Poison
from linkspan.kernel.kafka.clients import KafkaClients, stop_consumer
from linkspan.kernel.kafka.published import PublishedSchemas
from linkspan.kernel.telemetry.metrics import NOT_UNDERSTOOD
from linkspan.kernel.topics import control_topic

log = structlog.get_logger()

Heard = Callable[[int, Command, Verdict], None]
Watch = Callable[[ControlState], None]
_FETCH_MS = 1_000
#: Kafka may take so long for an answer before the topic counts as away, seconds.
_ANSWER = 5.0


class ControlTail:
    """One in each process, without a group. ``state`` is what is in force, ``applied`` the offset up to which it was
    folded; ``caught_up`` is set once that was the topic's end. ``schemas``: what other versions write with."""

    def __init__(self, clients: KafkaClients, integration: str, codec: CommandCodec) -> None:
        self._clients, self._codec = clients, codec
        self.partition = TopicPartition(control_topic(integration), 0)
        self.schemas = PublishedSchemas(clients, integration, codec.catalog)
        self.state = ControlState()
        self.applied = 0
        self.caught_up = asyncio.Event()
        self._trouble: str | None = "the control topic was not read yet"
        self._heard_at = float("-inf")
        self._listeners: list[Heard] = []
        self._watches: list[Watch] = []
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def watch(self, look: Watch) -> None:
        """``look`` is called with what is in force: now, if that is known, and whenever something changed it."""
        self._watches.append(look)
        if self.caught_up.is_set():
            look(self.state)

    def listen(self, heard: Heard) -> None:
        """``heard`` is called for each command, after it was folded."""
        self._listeners.append(heard)

    def unlisten(self, heard: Heard) -> None:
        if heard in self._listeners:
            self._listeners.remove(heard)

    def trouble(self) -> str | None:
        """None while Kafka answers, so that a command given now would be read back."""
        if self._trouble is None and asyncio.get_running_loop().time() - self._heard_at > _ANSWER:
            return f"Kafka has not answered for {_ANSWER:.0f} s"
        return self._trouble

    async def reached(self, offset: int) -> None:
        """Returns when all commands below ``offset`` are folded."""
        if self.applied >= offset:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((offset, waiter))
        try:
            await waiter
        finally:
            self._waiting = [one for one in self._waiting if one[1] is not waiter]

    async def learn(self, records: Iterable[Any]) -> None:
        """Before ``read``: what another version wrote can be read then. Raises KafkaError, TimeoutError."""
        await self.schemas.learn(self._codec, *(record.value for record in records))

    def read(self, record: Any) -> Command | None:
        """None where the record is no command."""
        try:
            return self._codec.read(record.value, record.headers)
        except Poison as error:
            log.warning("not a command", topic=self.partition.topic, offset=record.offset, reason=error.reason)
            NOT_UNDERSTOOD.labels("command").inc()
            return None

    async def run(self) -> None:
        wait = 0.5
        while True:
            reader = self._clients.reader()
            try:
                await reader.start()
                wait = 0.5
                await self._follow(reader)
            except (KafkaError, OSError, TimeoutError) as error:
                self._trouble = f"the control topic cannot be read: {error!r}"
                log.warning("the control topic cannot be read", error=repr(error))
            except Exception:  # a process that obeys no more is worse than one that tries again
                self._trouble = "the control topic cannot be followed"
                log.exception("the control topic cannot be followed")
            finally:
                await stop_consumer(reader)
            await asyncio.sleep(wait)
            wait = min(5.0, wait * 2)

    async def _follow(self, reader: AIOKafkaConsumer) -> None:
        reader.assign([self.partition])
        reader.seek(self.partition, self.applied)
        end = await self._end(reader)
        while True:
            found = await reader.getmany(self.partition, timeout_ms=_FETCH_MS)
            await self.learn(found.get(self.partition, ()))
            for record in found.get(self.partition, ()):
                self._take(record)
            self._reach(await reader.position(self.partition))  # markers of transactions are no records
            if found:
                self._heard()
            else:
                await self._end(reader)
            if not self.caught_up.is_set() and self.applied >= end:
                self._caught_up()

    def _caught_up(self) -> None:
        self.caught_up.set()
        log.debug("control topic read", commands=self.applied)
        for look in self._watches:
            look(self.state)

    async def _end(self, reader: AIOKafkaConsumer) -> int:
        """Asking tells whether Kafka is there: a fetch that brings nothing does not say why."""
        async with asyncio.timeout(_ANSWER):
            end = (await reader.end_offsets([self.partition]))[self.partition]
        self._heard()
        return int(end)

    def _heard(self) -> None:
        self._heard_at, self._trouble = asyncio.get_running_loop().time(), None

    def _take(self, record: Any) -> None:
        offset = record.offset
        if offset < self.applied:
            return
        command = self.read(record)
        verdict = self.state.fold(command) if command is not None else None
        self.applied = offset + 1
        if command is not None and verdict is not None:
            if not self.state.knows(command.kind):
                log.warning("a command of another version means nothing here", kind=command.kind, offset=offset)
                NOT_UNDERSTOOD.labels("command").inc()
            for heard in tuple(self._listeners):
                heard(offset, command, verdict)
            for look in self._watches if verdict.effective and self.caught_up.is_set() else ():
                look(self.state)
        self._reach(offset + 1)

    def _reach(self, offset: int) -> None:
        self.applied = max(self.applied, offset)
        for wanted, waiter in self._waiting:
            if wanted <= self.applied and not waiter.done():
                waiter.set_result(None)
