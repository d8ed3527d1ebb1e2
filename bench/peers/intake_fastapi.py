"""Intake by FastAPI, pydantic, fastavro and aiokafka (acks=all, idempotent): validate, encode, append, 202.

``python -m bench.peers.intake_fastapi <bootstrap> <integration file>``; prints ``ready <port>``.
"""

from __future__ import annotations

import io
import socket
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import uvicorn
from aiokafka import AIOKafkaProducer
from fastapi import FastAPI
from fastavro import parse_schema, schemaless_writer
from pydantic import BaseModel, ConfigDict

from bench.integration import NAME, PEER_EVENTS
from linkspan.kernel.spec_file import catalog_for, load_integration


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Header(Strict):
    messageId: uuid.UUID  # noqa: N815
    timestamp: datetime
    source: str
    destination: str
    messageType: Literal["request", "response", "event"]  # noqa: N815
    type: str
    version: str = "1.0"


class Payload(Strict):
    orderId: uuid.UUID  # noqa: N815
    line: int
    text: str


class Metadata(Strict):
    correlationId: uuid.UUID  # noqa: N815
    priority: Literal["low", "normal", "high", "critical"] = "normal"
    ttl: int | None = None
    retryCount: int = 0  # noqa: N815


class Message(Strict):
    header: Header
    payload: Payload
    metadata: Metadata


def application(bootstrap: str, schema: Any, prefix: bytes) -> FastAPI:
    made: dict[str, AIOKafkaProducer] = {}

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        made["producer"] = AIOKafkaProducer(
            bootstrap_servers=bootstrap,
            acks="all",
            enable_idempotence=True,
            max_batch_size=256 * 1024,  # the default of 16 KiB would cost it much more
            linger_ms=1,
        )
        await made["producer"].start()
        yield
        await made["producer"].stop()

    app = FastAPI(lifespan=lifespan)

    async def append(message: Message) -> Any:
        datum = message.model_dump()
        datum["metadata"]["defaulted"] = []
        out = io.BytesIO()
        out.write(prefix)
        schemaless_writer(out, schema, datum)
        header = message.header
        headers = [
            ("message-id", str(header.messageId).encode()),
            ("correlation-id", str(message.metadata.correlationId).encode()),
            ("type", header.type.encode()),
        ]
        key = str(message.payload.orderId).encode()
        return await made["producer"].send(PEER_EVENTS, out.getvalue(), key=key, headers=headers)

    @app.post("/v1/messages", status_code=202)
    async def take(message: Message) -> dict[str, Any]:
        acked = await (await append(message))
        return {"messageId": message.header.messageId, "offset": acked.offset}

    @app.post("/v1/messages:batch", status_code=202)
    async def take_batch(messages: list[Message]) -> list[dict[str, Any]]:
        sent = [await append(message) for message in messages]
        acked = [await one for one in sent]
        return [
            {"messageId": message.header.messageId, "offset": found.offset}
            for message, found in zip(messages, acked, strict=True)
        ]

    return app


def main() -> None:
    bootstrap, file = sys.argv[1:]
    event = catalog_for(load_integration(Path(file), {})).events(NAME, "Order")[-1]
    schema = parse_schema(event.definition, _force=True)
    listener = socket.create_server(("127.0.0.1", 0))
    app = application(bootstrap, schema, b"\xc3\x01" + event.fingerprint)
    sys.stdout.write(f"ready {listener.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(app, loop="uvloop", http="httptools", log_level="warning", access_log=False)
    uvicorn.Server(config).run([listener])


if __name__ == "__main__":
    main()
