"""A plan as its page and the API tell it: what was uploaded, how far each revision came, what came back."""

from __future__ import annotations

import sqlite3
from typing import Any

from linkspan.reference.plan_manager import results, uploads

#: The states of a revision, in order; refused ends it as analysed does.
STATES = ("uploaded", "accepted", "analysed", "refused")


def plan(connection: sqlite3.Connection, plan_id: str) -> dict[str, Any] | None:
    """None where nothing is known of the plan."""
    analyses = results.analyses(connection, plan_id)
    notices = results.refusals(connection, plan_id)
    revisions = [_revision(row, analyses, notices) for row in uploads.revisions(connection, plan_id)]
    if not (revisions or analyses or notices):
        return None
    if not revisions:
        return _not_uploaded_here(plan_id, analyses, notices)
    newest = revisions[0]
    return {"planId": plan_id, **newest, "revisions": revisions, "notices": [_notice(row) for row in notices]}


def plans(connection: sqlite3.Connection, after: str, limit: int) -> list[dict[str, Any]]:
    """Plans above ``after`` in order of plan id, in short."""
    return [_short(connection, row["plan_id"]) for row in uploads.newest(connection, after, limit)]


def recent_plans(connection: sqlite3.Connection, limit: int) -> list[dict[str, Any]]:
    return [_short(connection, plan_id) for plan_id in uploads.recent(connection, limit)]


def _short(connection: sqlite3.Connection, plan_id: str) -> dict[str, Any]:
    whole = plan(connection, plan_id) or {}
    left_out = ("revisions", "notices", "analysis", "hops")
    return {name: value for name, value in whole.items() if name not in left_out}


def _revision(upload: dict[str, Any], analyses: list[dict[str, Any]], notices: list[dict[str, Any]]) -> dict[str, Any]:
    answer = next((row for row in analyses if _answers(row, upload)), None)
    notice = next((row for row in notices if row["message_id"] == upload["message_id"]), None)
    state, since, reason = _state(upload, answer, notice)
    return {
        "revision": upload["revision"],
        "state": state,
        "since": since,
        "reason": reason,
        "metadata": upload["metadata"],
        "size": upload["size"],
        "digest": upload["digest"],
        "change": upload["change"],
        "messageId": upload["message_id"],
        "correlationId": upload["correlation_id"],
        "traceparent": upload["traceparent"],
        "hops": _hops(upload, answer, notice),
        "analysis": _analysis(answer) if answer else None,
    }


def _answers(analysis: dict[str, Any], upload: dict[str, Any]) -> bool:
    same = analysis["correlation_id"] == upload["correlation_id"]
    return same and bool(analysis["stored_at"] >= upload["uploaded_at"])


def _state(
    upload: dict[str, Any], answer: dict[str, Any] | None, notice: dict[str, Any] | None
) -> tuple[str, str, str | None]:
    if answer:
        return "analysed", answer["stored_at"], None
    if upload["problem"]:
        return "refused", upload["answered_at"], f"Refused at intake: {_problem_text(upload['problem'])}"
    if notice:
        return "refused", notice["stored_at"], f"{notice['reason']} ({notice['class']})"
    if upload["webhook"] == "accepted":
        return "accepted", upload["answered_at"], None
    return "uploaded", upload["uploaded_at"], upload["last_error"]


def _problem_text(problem: dict[str, Any]) -> str:
    parts = [str(problem[name]) for name in ("title", "detail") if problem.get(name)]
    errors = problem.get("errors")
    named = [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    parts.extend(f"{error.get('field')}: {error.get('error')}" for error in named)
    return "; ".join(parts) or f"status {problem.get('status')}"


def _hops(upload: dict[str, Any], answer: dict[str, Any] | None, notice: dict[str, Any] | None) -> list[dict[str, Any]]:
    hops = [{"at": upload["uploaded_at"], "what": "uploaded"}]
    if upload["answered_at"]:
        result = "refused" if upload["problem"] else "accepted"
        hops.append({"at": upload["answered_at"], "what": f"{result} by Linkspan, attempt {upload['attempts']}"})
    if notice:
        hops.append({"at": notice["stored_at"], "what": f"refusal received ({notice['class']})"})
    if answer:
        hops.append({"at": answer["stored_at"], "what": "analysis received"})
    return sorted(hops, key=lambda hop: str(hop["at"]))


def _analysis(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "analysisId": row["analysis_id"],
        "storedAt": row["stored_at"],
        "sequence": row["sequence"],
        "correlationId": row["correlation_id"],
        **row["view"],
    }


def _notice(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "messageId": row["message_id"],
        "class": row["class"],
        "reason": row["reason"],
        "storedAt": row["stored_at"],
    }


def _not_uploaded_here(plan_id: str, analyses: list[dict[str, Any]], notices: list[dict[str, Any]]) -> dict[str, Any]:
    """A plan that this store knows only from what came back for it."""
    answer = analyses[0] if analyses else None
    notice = notices[0] if notices else None
    view = answer["view"] if answer else {}
    return {
        "planId": plan_id,
        "revision": 0,
        "state": "analysed" if answer else "refused",
        "since": (answer or notice or {})["stored_at"],
        "reason": None if answer else f"{notice['reason']} ({notice['class']})" if notice else None,
        "metadata": {name: view.get(name) for name in ("identifier", "title", "summary", "category")},
        "size": 0,
        "digest": None,
        "correlationId": answer["correlation_id"] if answer else None,
        "hops": [],
        "analysis": _analysis(answer) if answer else None,
        "revisions": [],
        "notices": [_notice(row) for row in notices],
    }
