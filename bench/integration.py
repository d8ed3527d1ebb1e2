"""The integrations that are measured: orders of about 1 KB come in over HTTP and go out over a WebSocket, or HTTP."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import yaml

#: Of the one that delivers by WebSocket, and of the one that delivers by HTTP.
NAME, BY_HTTP = "bench", "benchhttp"
FLOW = "orders"
#: Requests of an HTTP delivery under way at once.
AT_ONCE = 64
PARTITIONS, KEYS = 4, 2_000
JSONATA = '{"orderId": orderId, "line": line, "text": text}'
#: What makes a message about 1 KB of JSON.
TEXT = "x" * 560
PEER_EVENTS, PEER_OUTCOMES = "bench.peer.events", "bench.peer.outcomes"

_UUID = {"type": "string", "logicalType": "uuid"}
_PAYLOAD = [{"name": "orderId", "type": _UUID}, {"name": "line", "type": "int"}, {"name": "text", "type": "string"}]


def write_integration(directory: Path, name: str, port: int) -> Path:
    """The integration file; ``port`` of the receiving server."""
    schemas = directory / "schemas" / name
    schemas.mkdir(parents=True)
    order = {"type": "record", "namespace": f"{name}.payload", "name": "Order", "fields": _PAYLOAD}
    (schemas / "Order.1.avsc").write_text(json.dumps(order))
    store: dict[str, Any] = {"kind": "websocket", "url": f"ws://127.0.0.1:{port}", "auth": {"api_key": "bench"}}
    if name == BY_HTTP:
        store |= {"kind": "rest", "url": f"http://127.0.0.1:{port}", "throttle": {"concurrency": AT_ONCE}}
    flow: dict[str, Any] = {
        "from": "shop",
        "to": "store",
        "type": "Order",
        "key": "payload.orderId",
        "partitions": PARTITIONS,
        "transform": [{"jsonata": JSONATA}],
        "deliver": {"path": "/orders"} if name == BY_HTTP else {},
    }
    spec = {
        "integration": name,
        "schemas": "schemas",
        "systems": {"shop": {"kind": "rest", "url": "http://127.0.0.1:9"}, "store": store},
        "flows": {FLOW: flow},
    }
    file = directory / f"{name}.yaml"
    file.write_text(yaml.safe_dump(spec, sort_keys=False))
    return file


def message(number: int) -> bytes:
    """Complete, so that nobody has anything to fill in; ids never repeat."""
    header = {
        "messageId": str(uuid.uuid4()),
        "timestamp": "2026-01-31T12:00:00.123456Z",
        "source": "shop",
        "destination": "store",
        "messageType": "event",
        "type": "Order",
        "version": "1.0",
    }
    payload = {"orderId": f"01980000-0000-7000-8000-{number % KEYS:012x}", "line": number, "text": TEXT}
    metadata = {"correlationId": str(uuid.uuid4()), "priority": "normal", "ttl": None, "retryCount": 0}
    return json.dumps({"header": header, "payload": payload, "metadata": metadata}, separators=(",", ":")).encode()
