"""aiokafka's idempotent producer: started within a limit, and given up at once."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiokafka import AIOKafkaProducer

from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.topics import MAX_RECORD_BYTES

#: Bytes of one batch; aiokafka's own 16 KiB cost a second at the 99th percentile under load.
BATCH_BYTES = 256 * 1024


async def start_producer(clients: KafkaClients, limit: float, request: float | None = None) -> AIOKafkaProducer:
    """Raises whatever aiokafka does, or TimeoutError after ``limit`` seconds; ``request``: seconds that a request
    has for its answer, by default as many."""
    producer = clients.producer(
        max_batch_size=BATCH_BYTES,
        max_request_size=MAX_RECORD_BYTES + BATCH_BYTES,
        request_timeout_ms=int((request or limit) * 1000),
    )
    try:
        async with asyncio.timeout(limit):
            await producer.start()
    except BaseException:
        await discard(producer)
        raise
    return producer


async def discard(producer: AIOKafkaProducer) -> None:
    """Ends a producer and drops what it has not sent.

    ``stop()`` would wait for Kafka to take it first: for ever, or until it comes back and takes what its senders
    were told is refused. aiokafka has no other way, hence the private names.
    """
    producer._closed = True  # noqa: SLF001
    sender = producer._sender.sender_task  # noqa: SLF001
    if sender:
        sender.cancel()
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(5):
            await producer.client.close()
    while sender and not sender.done():
        sender.cancel()  # the first time it still waits for its requests, some of which wait for metadata
        await asyncio.wait([sender], timeout=0.5)
