"""What an HTTP answer says about a delivery."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from linkspan.egress.partition.answer import Superseded, Unanswered
from linkspan.kernel.errors import DeliveryError, Rejected, Transient, Unavailable

#: Characters of an answer that a reason repeats.
_SHOWN = 300


def http_error(status: int, headers: Mapping[str, str], body: bytes) -> DeliveryError | None:
    """None for 2xx. 401, 403 and redirects concern the destination, not the message: an operator must act."""
    if 200 <= status < 300:
        return None
    problem = _problem(headers, body)
    reason = f"{status} {_said(problem, body)}".rstrip()
    if status in (401, 403):
        return Unavailable(f"the destination refuses our credentials: {reason}")
    if 300 <= status < 400:
        return Unavailable(f"the destination answers with a redirect to {headers.get('Location')}: correct its url")
    if status in (408, 425, 429, 503):
        return Unavailable(reason, retry_after=_retry_after(headers.get("Retry-After")))
    if status in (502, 504):
        return Unanswered(reason, retry_after=_retry_after(headers.get("Retry-After")))
    if status == 409 and str(problem.get("type", "")).endswith("older-sequence"):
        return Superseded(reason)
    return Transient(reason) if status >= 500 else Rejected(reason)


def _problem(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    if "json" not in headers.get("Content-Type", ""):
        return {}
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _said(problem: Mapping[str, Any], body: bytes) -> str:
    parts = [str(problem[name]) for name in ("title", "detail") if problem.get(name)]
    errors = problem.get("errors")
    if isinstance(errors, list):
        parts += [f"{error.get('field')}: {error.get('error')}" for error in errors if isinstance(error, dict)]
    text = "; ".join(parts) or " ".join(body[: 4 * _SHOWN].decode("utf-8", "replace").split())
    return text[:_SHOWN]


def _retry_after(text: str | None) -> float | None:
    """Seconds; both forms of the header."""
    if not text:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
