"""What an HTTP answer says in words, and when it says to come again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from linkspan.kernel.secret import redacted

#: Characters of an answer that a reason repeats.
_SHOWN = 300


def problem_of(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """The problem details (RFC 9457) of an answer; empty where it has none."""
    if "json" not in headers.get("Content-Type", ""):
        return {}
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def said(problem: Mapping[str, Any], body: bytes) -> str:
    """In a line for a person, without secrets of ours that it repeats."""
    parts = [str(problem[name]) for name in ("title", "detail") if problem.get(name)]
    errors = problem.get("errors")
    if isinstance(errors, list):
        parts += [f"{error.get('field')}: {error.get('error')}" for error in errors if isinstance(error, dict)]
    text = "; ".join(parts) or " ".join(body[: 4 * _SHOWN].decode("utf-8", "replace").split())
    return redacted(text)[:_SHOWN]


def retry_after_seconds(text: str | None) -> float | None:
    """Seconds from now; both forms of ``Retry-After``, None where it is neither."""
    if not text:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
