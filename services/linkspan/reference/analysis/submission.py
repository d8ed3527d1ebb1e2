"""A submit frame: read, checked with all faults, queued durably, answered."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import uuid
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from linkspan.kernel.errors import Fault
from linkspan.kernel.telemetry.traces import valid
from linkspan.reference.analysis.extract import PlanExtract
from linkspan.reference.clock import now
from linkspan.reference.problems import faults_of

#: Seconds after which a sender that met a full queue may ask again.
RETRY_AFTER = 2


class _Header(BaseModel):
    message_id: uuid.UUID = Field(alias="messageId")


class _Metadata(BaseModel):
    correlation_id: uuid.UUID = Field(alias="correlationId")
    priority: Literal["low", "normal", "high", "critical"] = "normal"


class _Message(BaseModel):
    header: _Header
    payload: PlanExtract
    metadata: _Metadata


class _Frame(BaseModel):
    model_config = ConfigDict(strict=False)

    kind: str = Field(pattern="^submit$")
    id: uuid.UUID
    sequence: int | None = Field(None, ge=0, lt=2**63)
    redelivery: bool = False
    replay: str | None = Field(None, max_length=200)
    traceparent: str | None = None
    body: _Message


@dataclass(frozen=True, slots=True)
class Submission:
    """``faults`` is empty when the frame is good; then every field but ``sequence``, ``replay`` and ``traceparent`` is
    set. ``replay``: the plan that sends it again; somebody decided so, and other content than before is meant."""

    id: str | None
    plan_id: str | None
    sequence: int | None
    redelivery: bool
    correlation_id: str | None
    traceparent: str | None
    digest: str = ""
    body: str = ""
    faults: list[Fault] = field(default_factory=list)
    replay: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """``result`` is queued, repeat, refused or busy; ``frame`` is the answer."""

    result: str
    frame: dict[str, Any]


def read_frame(text: str | bytes) -> Submission:
    try:
        frame = json.loads(text)
    except ValueError as error:
        return Submission(None, None, None, False, None, None, faults=[Fault("frame", f"is not JSON: {error}")])
    if not isinstance(frame, dict):
        return Submission(None, None, None, False, None, None, faults=[Fault("frame", "must be a JSON object")])
    try:
        checked = _Frame.model_validate(frame)
    except ValidationError as error:
        return _faulty(frame, faults_of(error))
    payload = frame["body"]["payload"]
    return Submission(
        id=str(checked.id),
        plan_id=str(checked.body.payload.plan_id),
        sequence=checked.sequence,
        redelivery=checked.redelivery,
        correlation_id=str(checked.body.metadata.correlation_id),
        traceparent=valid(checked.traceparent),
        digest=hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest(),
        body=json.dumps(frame["body"] | {"replay": checked.replay}),
        replay=checked.replay,
    )


def _faulty(frame: dict[str, Any], faults: list[Fault]) -> Submission:
    """What can still be said of a bad frame, so that the record names it."""
    body = _part(frame, "body")
    sequence = frame.get("sequence")
    return Submission(
        id=_text(frame.get("id")),
        plan_id=_text(_part(body, "payload").get("planId")),
        sequence=sequence if isinstance(sequence, int) and abs(sequence) < 2**63 else None,
        redelivery=frame.get("redelivery") is True,
        correlation_id=_text(_part(body, "metadata").get("correlationId")),
        traceparent=valid(_text(frame.get("traceparent"))),
        faults=faults,
        replay=_text(frame.get("replay")),
    )


def keep(connection: sqlite3.Connection, submission: Submission, full: bool) -> Verdict:
    """Queues the item, or finds that it is there, or refuses it; records which. ``full``: nothing new is taken."""
    verdict = _judge(connection, submission, full)
    refused = verdict.result in {"refused", "busy"}
    received = connection.execute(
        "INSERT INTO received (at, id, sequence, plan_id, redelivery, correlation_id, traceparent, result, reason) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            now(),
            submission.id,
            submission.sequence,
            submission.plan_id,
            submission.redelivery,
            submission.correlation_id,
            submission.traceparent,
            "refused" if refused else verdict.result,
            json.dumps(verdict.frame.get("errors") or verdict.frame.get("reason")) if refused else None,
        ),
    )
    if submission.replay is not None:
        connection.execute("INSERT INTO replayed VALUES (?, ?)", (received.lastrowid, submission.replay))
    return verdict


def _judge(connection: sqlite3.Connection, submission: Submission, full: bool) -> Verdict:
    if submission.faults:
        return _invalid(submission, submission.faults)
    same = connection.execute("SELECT digest FROM items WHERE id = ?", (submission.id,)).fetchone()
    if same:
        if same["digest"] == submission.digest:
            return Verdict("repeat", {"kind": "ack", "id": submission.id})
        if submission.replay is None:
            return _invalid(submission, [Fault("id", "was used for other content")])
        return _replace(connection, submission)
    newest = connection.execute(
        "SELECT max(sequence) AS sequence FROM items WHERE plan_id = ?", (submission.plan_id,)
    ).fetchone()["sequence"]
    if submission.sequence is not None and newest is not None and submission.sequence < newest:
        return _invalid(submission, [Fault("sequence", f"older than {newest}, which is stored for this plan")])
    if full:
        return Verdict("busy", {"kind": "nack", "id": submission.id, "reason": "busy", "retryAfter": RETRY_AFTER})
    connection.execute(
        "INSERT INTO items (id, digest, plan_id, sequence, correlation_id, traceparent, body, queued_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            submission.id,
            submission.digest,
            submission.plan_id,
            submission.sequence,
            submission.correlation_id,
            submission.traceparent,
            submission.body,
            now(),
        ),
    )
    return Verdict("queued", {"kind": "ack", "id": submission.id})


def _replace(connection: sqlite3.Connection, submission: Submission) -> Verdict:
    """In its old place; it is analysed anew."""
    connection.execute(
        "UPDATE items SET digest = ?, traceparent = ?, body = ?, queued_at = ?, state = 'queued', done_at = NULL, "
        "error = NULL WHERE id = ?",
        (submission.digest, submission.traceparent, submission.body, now(), submission.id),
    )
    return Verdict("queued", {"kind": "ack", "id": submission.id})


def _invalid(submission: Submission, faults: list[Fault]) -> Verdict:
    errors = [{"field": fault.field, "error": fault.error} for fault in faults]
    return Verdict("refused", {"kind": "nack", "id": submission.id, "reason": "invalid", "errors": errors})


def received(connection: sqlite3.Connection, after: int, limit: int) -> list[dict[str, Any]]:
    rows = connection.execute(
        "SELECT * FROM received LEFT JOIN replayed ON received = n WHERE n > ? ORDER BY n LIMIT ?", (after, limit)
    )
    return [
        {
            "n": row["n"],
            "at": row["at"],
            "id": row["id"],
            "sequence": row["sequence"],
            "key": row["plan_id"],
            "redelivery": bool(row["redelivery"]),
            "replay": row["plan"],
            "correlationId": row["correlation_id"],
            "traceparent": row["traceparent"],
            "result": row["result"],
            "reason": json.loads(row["reason"]) if row["reason"] else None,
        }
        for row in rows
    ]


def _part(of: dict[str, Any], name: str) -> dict[str, Any]:
    part = of.get(name)
    return part if isinstance(part, dict) else {}


def _text(value: Any) -> str | None:
    return value[:200].encode("utf-8", "replace").decode() if isinstance(value, str) else None
