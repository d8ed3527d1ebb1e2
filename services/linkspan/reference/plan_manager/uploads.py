"""Plans as they are uploaded: each upload is a revision, a change of the feed and a message to send, in one commit."""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import uuid_utils

from linkspan.reference.clock import now

#: A page of the change feed ends before it carries more content than this.
FEED_BYTES = 16 * 1024 * 1024

_COLUMNS = (
    "change, plan_id, revision, message_id, correlation_id, traceparent, metadata, priority, ttl, digest, size, "
    "uploaded_at, webhook, attempts, last_error, answered_at, problem"
)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file with what the uploader said about it; ``metadata`` as in the message ``PlanUploaded``."""

    plan_id: str
    metadata: dict[str, Any]
    content: bytes
    correlation_id: str | None
    traceparent: str
    priority: str = "normal"
    ttl: int | None = None


def add(connection: sqlite3.Connection, upload: Upload) -> dict[str, Any]:
    """The new upload as ``find`` gives it."""
    digest = hashlib.sha256(upload.content).hexdigest()
    connection.execute("INSERT INTO contents VALUES (?, ?) ON CONFLICT DO NOTHING", (digest, upload.content))
    message_id = str(uuid_utils.uuid7())
    cursor = connection.execute(
        "INSERT INTO uploads (plan_id, revision, message_id, correlation_id, traceparent, metadata, priority, ttl, "
        "digest, size, uploaded_at) VALUES "
        "(?, (SELECT count(*) + 1 FROM uploads WHERE plan_id = ?), ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            upload.plan_id,
            upload.plan_id,
            message_id,
            upload.correlation_id or message_id,
            upload.traceparent,
            json.dumps(upload.metadata, ensure_ascii=False),
            upload.priority,
            upload.ttl,
            digest,
            len(upload.content),
            now(),
        ),
    )
    found = find(connection, int(cursor.lastrowid or 0))
    assert found is not None  # noqa: S101 - inserted two lines above
    return found


def find(connection: sqlite3.Connection, change: int) -> dict[str, Any] | None:
    row = connection.execute(f"SELECT {_COLUMNS} FROM uploads WHERE change = ?", (change,)).fetchone()  # noqa: S608
    return _upload(row) if row else None


def revisions(connection: sqlite3.Connection, plan_id: str) -> list[dict[str, Any]]:
    """Newest first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM uploads WHERE plan_id = ? ORDER BY change DESC",  # noqa: S608
        (plan_id,),
    )
    return [_upload(row) for row in rows]


def newest(connection: sqlite3.Connection, after: str, limit: int) -> list[dict[str, Any]]:
    """The newest upload of each plan, in order of plan id, above ``after``."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM uploads WHERE change IN "  # noqa: S608
        "(SELECT max(change) FROM uploads WHERE plan_id > ? GROUP BY plan_id ORDER BY plan_id LIMIT ?) "
        "ORDER BY plan_id",
        (after, limit),
    )
    return [_upload(row) for row in rows]


def recent(connection: sqlite3.Connection, limit: int) -> list[str]:
    """Plan ids, the one uploaded last first."""
    rows = connection.execute(
        "SELECT plan_id FROM uploads GROUP BY plan_id ORDER BY max(change) DESC LIMIT ?", (limit,)
    )
    return [row["plan_id"] for row in rows]


def content(connection: sqlite3.Connection, digest: str) -> bytes:
    return bytes(connection.execute("SELECT content FROM contents WHERE digest = ?", (digest,)).fetchone()["content"])


def changes(connection: sqlite3.Connection, after: int, limit: int, with_content: bool) -> list[dict[str, Any]]:
    """Items of the feed above the cursor ``after``, oldest first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM uploads WHERE change > ? ORDER BY change LIMIT ?",  # noqa: S608
        (after, limit),
    )
    items: list[dict[str, Any]] = []
    carried = 0
    for row in rows:
        upload = _upload(row)
        carried += upload["size"] if with_content else 0
        if items and carried > FEED_BYTES:
            break
        items.append(_change(connection, upload, with_content))
    return items


def _change(connection: sqlite3.Connection, upload: dict[str, Any], with_content: bool) -> dict[str, Any]:
    payload = {"planId": upload["plan_id"], "metadata": upload["metadata"]}
    if with_content:
        payload["content"] = base64.b64encode(content(connection, upload["digest"])).decode()
    return {
        "change": upload["change"],
        "at": upload["uploaded_at"],
        "type": "PlanUploaded",
        "revision": upload["revision"],
        "messageId": upload["message_id"],
        "correlationId": upload["correlation_id"],
        "traceparent": upload["traceparent"],
        "priority": upload["priority"],
        "ttl": upload["ttl"],
        "digest": upload["digest"],
        "size": upload["size"],
        "payload": payload,
    }


def message(connection: sqlite3.Connection, change: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The upload and its ``PlanUploaded`` message: the same however often it is asked for."""
    upload = find(connection, change)
    assert upload is not None  # noqa: S101 - uploads are never deleted
    metadata = {"correlationId": upload["correlation_id"], "priority": upload["priority"], "retryCount": 0}
    if upload["ttl"] is not None:
        metadata["ttl"] = upload["ttl"]
    return upload, {
        "header": {
            "messageId": upload["message_id"],
            "timestamp": upload["uploaded_at"],
            "source": "plan-manager",
            "messageType": "event",
            "type": "PlanUploaded",
            "version": "1.0",
        },
        "payload": {
            "planId": upload["plan_id"],
            "metadata": upload["metadata"],
            "content": base64.b64encode(content(connection, upload["digest"])).decode(),
        },
        "metadata": metadata,
    }


def pending(connection: sqlite3.Connection) -> Sequence[tuple[str, int]]:
    """(plan id, change) of everything not answered yet, in order."""
    rows = connection.execute("SELECT plan_id, change FROM uploads WHERE webhook = 'pending' ORDER BY change")
    return [(row["plan_id"], row["change"]) for row in rows]


def failed(connection: sqlite3.Connection, change: int, error: str) -> None:
    connection.execute("UPDATE uploads SET attempts = attempts + 1, last_error = ? WHERE change = ?", (error, change))


def answered(connection: sqlite3.Connection, change: int, problem: dict[str, Any] | None) -> None:
    connection.execute(
        "UPDATE uploads SET attempts = attempts + 1, last_error = NULL, webhook = ?, answered_at = ?, problem = ? "
        "WHERE change = ?",
        ("refused" if problem else "accepted", now(), json.dumps(problem) if problem else None, change),
    )


def _upload(row: sqlite3.Row) -> dict[str, Any]:
    upload = dict(row)
    upload["metadata"] = json.loads(upload["metadata"])
    upload["problem"] = json.loads(upload["problem"]) if upload["problem"] else None
    return upload
