"""The page that documents the WebSocket protocol, with frames that the tests send."""

from __future__ import annotations

import json
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from linkspan.reference.analysis.assumptions import packaged_assumptions
from linkspan.reference.analysis.submission import RETRY_AFTER
from linkspan.reference.analysis.work import answer

HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
_ID = "01980000-0000-7000-8000-000000000001"

SUBMIT: dict[str, Any] = {
    "kind": "submit",
    "id": _ID,
    "sequence": 42,
    "redelivery": False,
    "traceparent": TRACEPARENT,
    "body": {
        "header": {
            "messageId": _ID,
            "timestamp": "2026-01-15T10:00:00.000000Z",
            "source": "plan-manager",
            "destination": "analysis",
            "messageType": "event",
            "type": "PlanExtract",
            "version": "1.0",
        },
        "payload": {
            "id": "TOWER-A-01",
            "planId": "01980000-0000-7000-8000-0000000000a1",
            "type": "RES",
            "attributes": {"name": "Tower A, ground floor", "description": None},
            "relationships": [{"type": "part-of", "id": "01980000-0000-7000-8000-0000000000a0"}],
            "dimensions": {
                "format": "IFC",
                "schema": "IFC4",
                "lengthUnit": "MILLIMETRE",
                "metresPerUnit": 0.001,
                "unitConfidence": "stated",
                "counts": {"IfcWall": 4, "IfcSlab": 2},
                "storeys": [{"name": "00", "elevation": 0.0}, {"name": "01", "elevation": 2.6}],
            },
            "materials": [
                {
                    "name": "concrete_reinforced_in-situ",
                    "elements": 6,
                    "netVolume": 6.4375,
                    "netArea": None,
                    "withoutVolume": 0,
                    "elementsWithoutVolume": [],
                }
            ],
            "partial": False,
            "reasons": [],
        },
        "metadata": {
            "correlationId": "01980000-0000-7000-8000-0000000000c1",
            "priority": "normal",
            "retryCount": 0,
        },
    },
}


def event() -> dict[str, Any]:
    """The event that answers ``SUBMIT``."""
    message = answer(SUBMIT["id"], SUBMIT["body"], packaged_assumptions())
    return {"kind": "event", "id": message["header"]["messageId"], "traceparent": TRACEPARENT, "body": message}


@cache
def page() -> str:
    happened = event()
    nack = {
        "kind": "nack",
        "id": _ID,
        "reason": "invalid",
        "errors": [{"field": "body.payload.planId", "error": "required field missing"}],
    }
    busy = {"kind": "nack", "id": _ID, "reason": "busy", "retryAfter": RETRY_AFTER}
    refused = {"kind": "nack", "id": happened["id"], "errors": [{"field": "payload.planId", "error": "…"}]}
    frames = {
        "SUBMIT": SUBMIT,
        "ACK": {"kind": "ack", "id": _ID},
        "INVALID": nack,
        "BUSY": busy,
        "EVENT": happened,
        "EVENT_ACK": {"kind": "ack", "id": happened["id"]},
        "EVENT_NACK": refused,
    }
    text = _resource("linkspan.reference.analysis", "protocol.html")
    for name, frame in frames.items():
        shown = escape(json.dumps(frame, indent=2, ensure_ascii=False))
        text = text.replace(f"<!--{name}-->", f"<pre>{shown}</pre>")
    return text.replace("/*STYLE*/", _resource("linkspan.reference", "page.css"))


def _resource(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text(encoding="utf-8")
