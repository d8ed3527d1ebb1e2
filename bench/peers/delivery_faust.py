"""Delivery by a plain Faust program: decode, JSONata, a WebSocket frame, its ack, an outcome to Kafka.

It keeps no order within a key across its 16 concurrent coroutines, no attempts and no dead letters: less than Linkspan.
``BENCH_KAFKA``, ``BENCH_FILE`` and ``BENCH_RECEIVER`` come by the environment;
``python -m bench.peers.delivery_faust worker``.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
from pathlib import Path
from typing import Any

import faust
import jsonatapy
from fastavro import parse_schema, schemaless_reader
from websockets.asyncio.client import ClientConnection, connect

from bench.integration import FLOW, JSONATA, NAME, PEER_OUTCOMES
from linkspan.kernel.spec_file import catalog_for, load_integration

event = catalog_for(load_integration(Path(os.environ["BENCH_FILE"]), {})).events(NAME, "Order")[-1]
schema = parse_schema(event.definition, _force=True)
transform = jsonatapy.compile(JSONATA)

app = faust.App(
    "bench-faust",
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


async def answers(connection: ClientConnection) -> None:
    async for frame in connection:
        found = waiting.pop(json.loads(frame)["id"], None)
        if found is not None and not found.done():
            found.set_result(None)


async def connected() -> ClientConnection:
    if not connections:
        connections.append(await connect(os.environ["BENCH_RECEIVER"], compression=None, ping_interval=None))
        app.loop.create_task(answers(connections[0]))
    return connections[0]


lock = asyncio.Lock()


@app.agent(events, concurrency=16)
async def deliver(stream: faust.Stream[bytes]) -> None:
    async with lock:
        connection = await connected()
    async for found in stream.events():
        body = io.BytesIO(found.value)
        body.seek(10)
        datum: dict[str, Any] = schemaless_reader(body, schema, None)
        message_id = str(datum["header"]["messageId"])
        payload = transform.evaluate(datum["payload"] | {"orderId": str(datum["payload"]["orderId"])})
        frame = {
            "kind": "submit",
            "id": message_id,
            "sequence": found.message.offset,
            "body": {"header": datum["header"], "payload": payload, "metadata": datum["metadata"]},
        }
        acked = waiting[message_id] = app.loop.create_future()
        await connection.send(json.dumps(frame, default=str))
        await acked
        said = {"kind": "delivered", "offset": found.message.offset, "messageId": message_id}
        await outcomes.send(key=found.key, value=json.dumps(said).encode())


if __name__ == "__main__":
    app.main()
