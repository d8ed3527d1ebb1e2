"""What an HTTP answer says about a delivery."""

from __future__ import annotations

from collections.abc import Mapping

from linkspan.egress.partition.answer import Superseded, Unanswered
from linkspan.kernel.errors import DeliveryError, RateLimited, Rejected, Transient, Unavailable
from linkspan.kernel.http.answer import problem_of, retry_after_seconds, said
from linkspan.kernel.secret import redacted


def http_error(status: int, headers: Mapping[str, str], body: bytes) -> DeliveryError | None:
    """None for 2xx. 401, 403 and redirects concern the destination, not the message: an operator must act."""
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        where = headers.get("Location") or "nowhere"
        return Unavailable(f"the destination answers with a redirect to {redacted(where)}: correct its url")
    problem = problem_of(headers, body)
    return status_error(status, problem, said(problem, body), retry_after_seconds(headers.get("Retry-After")))


def status_error(
    status: int, problem: Mapping[str, object], words: str, retry_after: float | None
) -> DeliveryError | None:
    """What a status means, of an answer or of one message in the answer to a batch. ``words``: for a person."""
    if 200 <= status < 300:
        return None
    reason = f"{status} {words}".rstrip()
    if status in (401, 403):
        return Unavailable(f"the destination refuses our credentials: {reason}")
    if status == 429:
        return RateLimited(reason, retry_after=retry_after)
    if status in (408, 425, 503):
        return Unavailable(reason, retry_after=retry_after)
    if status in (502, 504):
        return Unanswered(reason, retry_after=retry_after)
    if status == 409 and str(problem.get("type", "")).endswith("older-sequence"):
        return Superseded(reason)
    return Transient(reason) if status >= 500 else Rejected(reason)
