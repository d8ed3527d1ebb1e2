"""The control topic as owners follow it: what came before a takeover is read then, what comes later is handed on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from linkspan.kernel.commands import Command, CommandCodec
from linkspan.kernel.errors import Poison
from linkspan.kernel.kafka.clients import KafkaClients, stop_consumer

log = structlog.get_logger()

_FETCH_MS = 1_000


class Inbox:
    """Commands for one partition, each once and in order; ``some`` is called when there are new ones."""

    def __init__(self, flow: str, partition: int, some: Callable[[], None]) -> None:
        self._mine = (flow, partition)
        self._some = some
        self._early: list[tuple[int, Command]] = []
        self._expected: int | None = None
        self.waiting: deque[tuple[int, Command]] = deque()

    def hear(self, offset: int, command: Command) -> None:
        """From the tail, which may be ahead of what was read, or behind."""
        if self._expected is None:
            self._early.append((offset, command))
        else:
            self._take(offset, command)

    def begin(self, start: int, before: Iterable[tuple[int, Command]], end: int) -> None:
        """``before`` stands from ``start`` to ``end``; then what was heard follows."""
        self._expected = start
        for offset, command in before:
            self._take(offset, command)
        self._expected = max(start, end)
        early, self._early = self._early, []
        for offset, command in early:
            self._take(offset, command)

    def _take(self, offset: int, command: Command) -> None:
        if self._expected is not None and offset >= self._expected:
            self._expected = offset + 1
            if (command.flow, command.partition) == self._mine:
                self.waiting.append((offset, command))
                self._some()


class ControlTail:
    """Reads the whole topic, without a group, and goes on; commands are few."""

    def __init__(self, clients: KafkaClients, topic: str, codec: CommandCodec) -> None:
        self._clients, self._codec = clients, codec
        self.partition = TopicPartition(topic, 0)
        self._next = 0
        self._inboxes: set[Inbox] = set()

    def add(self, inbox: Inbox) -> None:
        self._inboxes.add(inbox)

    def remove(self, inbox: Inbox) -> None:
        self._inboxes.discard(inbox)

    def read(self, offset: int, value: bytes | None) -> Command | None:
        """None where the record is no command that this version knows."""
        try:
            return self._codec.decode(value)
        except Poison as error:
            log.warning("not a command", topic=self.partition.topic, offset=offset, reason=error.reason)
            return None

    async def run(self) -> None:
        wait = 0.5
        while True:
            reader = self._clients.reader()
            try:
                await reader.start()
                wait = 0.5
                await self._follow(reader)
            except (KafkaError, OSError) as error:
                log.warning("the control topic cannot be read", error=repr(error))
            finally:
                await stop_consumer(reader)
            await asyncio.sleep(wait)
            wait = min(5.0, wait * 2)

    async def _follow(self, reader: AIOKafkaConsumer) -> None:
        reader.assign([self.partition])
        reader.seek(self.partition, self._next)
        while True:
            found = await reader.getmany(self.partition, timeout_ms=_FETCH_MS)
            for record in found.get(self.partition, ()):
                self._next = record.offset + 1
                command = self.read(record.offset, record.value)
                if command is not None:
                    for inbox in tuple(self._inboxes):
                        inbox.hear(record.offset, command)
