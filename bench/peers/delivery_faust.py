"""Delivery by a plain Faust program: decode, JSONata, a frame and its ack (or an aiohttp request), an outcome to Kafka.

It keeps no order within a key across its concurrent coroutines, no attempts and no dead letters: less than Linkspan.
``BENCH_KAFKA``, ``BENCH_FILE``, ``BENCH_NAME`` and ``BENCH_RECEIVER`` (a WebSocket or HTTP address) come by the
environment; ``python -m bench.peers.delivery_faust worker``.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
from pathlib import Path
from typing import Any

import aiohttp
import faust
import jsonatapy
from fastavro import parse_schema, schemaless_reader
from websockets.asyncio.client import ClientConnection, connect

from bench.integration import AT_ONCE, FLOW, JSONATA, PEER_OUTCOMES
from linkspan.kernel.spec_file import catalog_for, load_integration

NAME, RECEIVER = os.environ["BENCH_NAME"], os.environ["BENCH_RECEIVER"]
event = catalog_for(load_integration(Path(os.environ["BENCH_FILE"]), {})).events(NAME, "Order")[-1]
schema = parse_schema(event.definition, _force=True)
transform = jsonatapy.compile(JSONATA)

BY_HTTP = RECEIVER.startswith("http")

app = faust.App(
    f"faust-{NAME}",
    broker=f"kafka://{os.environ['BENCH_KAFKA']}",
    value_serializer="raw",
    key_serializer="raw",
    web_enabled=False,
    topic_disable_leader=True,
    topic_allow_declare=False,
    consumer_auto_offset_reset="earliest",
    producer_acks=-1,
    producer_max_batch_size=256 * 1024,
    stream_wait_empty=False,
)
events = app.topic(f"{NAME}.{FLOW}.events", value_type=bytes, key_type=bytes)
outcomes = app.topic(PEER_OUTCOMES, value_type=bytes, key_type=bytes)
waiting: dict[str, asyncio.Future[None]] = {}
connections: list[ClientConnection] = []
sessions: list[aiohttp.ClientSession] = []


async def answers(connection: ClientConnection) -> None:
    async for frame in connection:
        found = waiting.pop(json.loads(frame)["id"], None)
        if found is not None and not found.done():
            found.set_result(None)


async def connected() -> ClientConnection:
    if not connections:
        connections.append(await connect(RECEIVER, compression=None, ping_interval=None))
        app.loop.create_task(answers(connections[0]))
    return connections[0]


lock = asyncio.Lock()


async def deliver_frame(message_id: str, sequence: int, body: Any) -> None:
    async with lock:
        connection = await connected()
    acked = waiting[message_id] = app.loop.create_future()
    frame = {"kind": "submit", "id": message_id, "sequence": sequence, "body": body}
    await connection.send(json.dumps(frame, default=str))
    await acked


async def deliver_request(message_id: str, sequence: int, body: Any) -> None:
    if not sessions:
        sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)))
    headers = {"Content-Type": "application/json", "Idempotency-Key": message_id, "Linkspan-Sequence": str(sequence)}
    async with sessions[0].post(RECEIVER, data=json.dumps(body, default=str), headers=headers) as answer:
        await answer.read()


send = deliver_request if BY_HTTP else deliver_frame


@app.agent(events, concurrency=AT_ONCE if BY_HTTP else 16)
async def deliver(stream: faust.Stream[bytes]) -> None:
    async for found in stream.events():
        body = io.BytesIO(found.value)
        body.seek(10)
        datum: dict[str, Any] = schemaless_reader(body, schema, None)
        message_id = str(datum["header"]["messageId"])
        payload = transform.evaluate(datum["payload"] | {"orderId": str(datum["payload"]["orderId"])})
        made = {"header": datum["header"], "payload": payload, "metadata": datum["metadata"]}
        await send(message_id, found.message.offset, made)
        said = {"kind": "delivered", "offset": found.message.offset, "messageId": message_id}
        await outcomes.send(key=found.key, value=json.dumps(said).encode())


if __name__ == "__main__":
    app.main()
