"""Giving commands: append, wait until this process has folded them, answer with the verdict."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from linkspan.control.errors import kafka_away
from linkspan.control.tail import ControlTail
from linkspan.control.trail import Given
from linkspan.control.verdict import Verdict
from linkspan.kernel.commands import Command, CommandCodec
from linkspan.kernel.kafka.clients import KafkaClients, discard_producer, stop_producer

log = structlog.get_logger()

#: Kafka has so long to take them, seconds, and a hundredth of a second for each.
_APPEND = 5.0
#: And this process so long to read them back, and a millisecond for each.
_READ_BACK = 5.0


class Commands:
    """``close`` when no call is under way any more."""

    def __init__(self, clients: KafkaClients, tail: ControlTail, codec: CommandCodec) -> None:
        self._clients, self._tail, self._codec = clients, tail, codec
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def give(self, commands: Sequence[Command]) -> list[Given]:
        """In their order. Raises Away: none was given, or it says how to find out which were."""
        if trouble := self._tail.trouble():
            raise kafka_away(f"no command can be given: {trouble}")
        read: dict[str, Given] = {}

        def heard(offset: int, command: Command, verdict: Verdict) -> None:
            read[command.id] = Given(offset, command, verdict)

        self._tail.listen(heard)
        try:
            end = await self._append(commands)
            async with asyncio.timeout(_READ_BACK + len(commands) / 1000):
                await self._tail.reached(end)
        except TimeoutError as error:
            raise kafka_away("the commands were given, but not read back in time; ListCommands shows them") from error
        finally:
            self._tail.unlisten(heard)
        return [read[command.id] for command in commands]

    async def _append(self, commands: Sequence[Command]) -> int:
        """The offset after the last one."""
        if not commands:
            return 0
        where, producer = self._tail.partition, await self._running()
        try:
            async with asyncio.timeout(_APPEND + len(commands) / 100):
                await self._tail.schemas.ready()
                sent = [
                    await producer.send(
                        where.topic, self._codec.encode(one), one.key, where.partition, headers=one.headers
                    )
                    for one in commands
                ]
                return int(max(one.offset for one in await asyncio.gather(*sent))) + 1
        except (KafkaError, OSError, TimeoutError) as error:
            self._discard(producer)
            raise kafka_away(
                f"Kafka did not confirm the command ({error!r}); ListCommands shows whether it was given"
            ) from error
        except asyncio.CancelledError:
            self._discard(producer)  # nobody waits for it: what was not sent yet must not be sent later
            raise

    async def _running(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = self._clients.producer(request_timeout_ms=int(_APPEND * 1000))
                try:
                    async with asyncio.timeout(_APPEND):
                        await producer.start()
                except (KafkaError, OSError, TimeoutError) as error:
                    discard_producer(producer)
                    raise kafka_away(f"no command can be given: {error!r}") from error
                except BaseException:
                    discard_producer(producer)
                    raise
                self._producer = producer
            return self._producer

    def _discard(self, producer: AIOKafkaProducer) -> None:
        if self._producer is producer:
            self._producer = None
        discard_producer(producer)

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await stop_producer(producer)
