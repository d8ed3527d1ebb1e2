"""The results store: analyses and refusal notices, idempotent, never older over newer, and a record of all received."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import uuid
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from linkspan.reference.clock import now
from linkspan.reference.problems import Problem


class Figure(BaseModel):
    label: str = Field(min_length=1)
    value: float = Field(allow_inf_nan=False)
    unit: str | None = None


class Recommendation(BaseModel):
    code: str = Field(min_length=1)
    severity: Literal["info", "warning", "error"]
    text: str = Field(min_length=1)
    figure: float | None = Field(None, allow_inf_nan=False)
    unit: str | None = None
    formula: str | None = None
    source: str | None = None


class AnalysisView(BaseModel):
    """What the plan's page shows of an analysis."""

    model_config = ConfigDict(extra="ignore")

    identifier: str = Field(min_length=1)
    category: str = Field(min_length=1)
    title: str = Field(min_length=1)
    summary: str | None = None
    verdict: str = Field(min_length=1)
    figures: list[Figure]
    recommendations: list[Recommendation]


class Refusal(BaseModel):
    """A notice that a message of this plan could not be handled; ``class`` is Linkspan's failure class."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    plan_id: uuid.UUID = Field(alias="planId")
    message_id: uuid.UUID = Field(alias="messageId")
    failure: str = Field(alias="class", min_length=1)
    reason: str = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request to the results store, as it came. ``replay``: the plan that sends it again."""

    kind: Literal["analysis", "refusal"]
    plan_id: str
    item_id: str
    idempotency_key: str
    sequence: int | None
    redelivery: bool
    correlation_id: str | None
    traceparent: str | None
    request_id: str | None
    replay: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """``problem`` is what the sender is told when nothing was stored."""

    stored_at: str
    repeat: bool = False
    problem: Problem | None = None


def store_analysis(connection: sqlite3.Connection, delivery: Delivery, view: dict[str, Any]) -> Answer:
    """Stores or repeats or refuses, and records which."""
    text = json.dumps(view, sort_keys=True)
    digest = _digest(delivery.plan_id, delivery.item_id, text)
    same_key = connection.execute(
        "SELECT digest, stored_at FROM analyses WHERE idempotency_key = ?", (delivery.idempotency_key,)
    ).fetchone()
    if same_key:
        return _again(connection, delivery, same_key, digest)
    newest = connection.execute(
        "SELECT max(sequence) AS sequence FROM analyses WHERE plan_id = ?", (delivery.plan_id,)
    ).fetchone()["sequence"]
    if delivery.sequence is not None and newest is not None and delivery.sequence < newest:
        return refuse(connection, delivery, _older(delivery, newest))
    at = now()
    connection.execute(
        "INSERT INTO analyses (idempotency_key, plan_id, analysis_id, sequence, digest, correlation_id, view, "
        "stored_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            delivery.idempotency_key,
            delivery.plan_id,
            delivery.item_id,
            delivery.sequence,
            digest,
            delivery.correlation_id,
            text,
            at,
        ),
    )
    _record(connection, delivery, "stored")
    return Answer(at)


def store_refusal(connection: sqlite3.Connection, delivery: Delivery, failure: str, reason: str) -> Answer:
    """One notice a message: the same again is a repeat, another reason for it replaces the former."""
    digest = _digest(failure, reason)
    former = connection.execute(
        "SELECT digest, stored_at FROM refusals WHERE plan_id = ? AND message_id = ?",
        (delivery.plan_id, delivery.item_id),
    ).fetchone()
    if former and former["digest"] == digest:
        return _again(connection, delivery, former, digest)
    at = now()
    connection.execute(
        "INSERT OR REPLACE INTO refusals VALUES (?, ?, ?, ?, ?, ?)",
        (delivery.plan_id, delivery.item_id, digest, failure, reason, at),
    )
    _record(connection, delivery, "stored")
    return Answer(at)


def refuse(connection: sqlite3.Connection, delivery: Delivery, problem: Problem) -> Answer:
    _record(connection, delivery, "refused", problem.body["type"])
    return Answer("", problem=problem)


def _again(connection: sqlite3.Connection, delivery: Delivery, stored: sqlite3.Row, digest: str) -> Answer:
    if stored["digest"] == digest:
        _record(connection, delivery, "repeat")
        return Answer(stored["stored_at"], repeat=True)
    title = f"Idempotency-Key {delivery.idempotency_key} was used for other content."
    return refuse(connection, delivery, Problem(422, "idempotency-key-reused", title))


def _older(delivery: Delivery, newest: int) -> Problem:
    title = f"Linkspan-Sequence {delivery.sequence} is older than {newest}, which is stored for this plan."
    return Problem(409, "older-sequence", title)


def _record(connection: sqlite3.Connection, delivery: Delivery, result: str, reason: str | None = None) -> None:
    received = connection.execute(
        "INSERT INTO received (at, kind, idempotency_key, sequence, plan_id, redelivery, correlation_id, traceparent, "
        "request_id, result, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            now(),
            delivery.kind,
            delivery.idempotency_key,
            delivery.sequence,
            delivery.plan_id,
            delivery.redelivery,
            delivery.correlation_id,
            delivery.traceparent,
            delivery.request_id,
            result,
            reason,
        ),
    )
    if delivery.replay is not None:
        connection.execute("INSERT INTO replayed VALUES (?, ?)", (received.lastrowid, delivery.replay))


def received(connection: sqlite3.Connection, after: int, limit: int) -> list[dict[str, Any]]:
    rows = connection.execute(
        "SELECT * FROM received LEFT JOIN replayed ON received = n WHERE n > ? ORDER BY n LIMIT ?", (after, limit)
    )
    return [
        {
            "n": row["n"],
            "at": row["at"],
            "kind": row["kind"],
            "idempotencyKey": row["idempotency_key"],
            "sequence": row["sequence"],
            "key": row["plan_id"],
            "redelivery": bool(row["redelivery"]),
            "replay": row["plan"],
            "correlationId": row["correlation_id"],
            "traceparent": row["traceparent"],
            "requestId": row["request_id"],
            "result": row["result"],
            "reason": row["reason"],
        }
        for row in rows
    ]


def analyses(connection: sqlite3.Connection, plan_id: str) -> list[dict[str, Any]]:
    """Newest first; ``view`` as it was stored."""
    rows = connection.execute("SELECT * FROM analyses WHERE plan_id = ? ORDER BY n DESC", (plan_id,))
    return [{**dict(row), "view": json.loads(row["view"])} for row in rows]


def refusals(connection: sqlite3.Connection, plan_id: str) -> list[dict[str, Any]]:
    """Newest first."""
    rows = connection.execute("SELECT * FROM refusals WHERE plan_id = ? ORDER BY stored_at DESC", (plan_id,))
    return [dict(row) for row in rows]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
