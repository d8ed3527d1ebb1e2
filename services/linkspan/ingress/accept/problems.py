"""What ingress answers when it says no: ``application/problem+json`` (RFC 9457), with every fault named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from linkspan.ingress.errors import Conflict, Forbidden, Malformed, NotAdmitted, NotNow, TooLarge, TooMany
from linkspan.kernel.errors import Fault, InvalidMessage, LinkspanError
from linkspan.kernel.telemetry.metrics import REFUSED

MEDIA_TYPE = "application/problem+json"
_NOT_ADMITTED = {
    "missing": "Say who sends.",
    "unknown": "The credential is not valid.",
    "expired": "The credential has expired.",
    "revoked": "The credential was revoked.",
}


class Problem(msgspec.Struct, omit_defaults=True, kw_only=True):
    """``headers`` go with the answer, not into it; ``extra`` is what a problem of this type says beside the rest."""

    type: str
    title: str
    status: int
    detail: str | None = None
    errors: list[dict[str, str]] | None = None
    extra: dict[str, Any] = {}
    headers: dict[str, str] = {}

    def body(self) -> dict[str, Any]:
        made: dict[str, Any] = msgspec.to_builtins(self)
        made.pop("headers", None)
        extra: dict[str, Any] = made.pop("extra", {})
        return made | extra

    def header_lines(self) -> list[tuple[bytes, bytes]]:
        return [(name.lower().encode(), value.encode()) for name, value in self.headers.items()]


def problem(status: int, kind: str, title: str, detail: str | None = None, **headers: str) -> Problem:
    """``kind`` becomes ``/problems/<kind>``; header names are written with underscores."""
    REFUSED.labels(kind).inc()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Problem(type=f"/problems/{kind}", title=title, status=status, detail=detail, headers=named)


def with_faults(made: Problem, faults: Sequence[Fault]) -> Problem:
    return msgspec.structs.replace(made, errors=[{"field": fault.field, "error": fault.error} for fault in faults])


def problem_of(error: LinkspanError) -> Problem:
    match error:
        case InvalidMessage():
            return with_faults(problem(400, "invalid", "The message is not valid."), error.faults)
        case Malformed():
            return problem(400, "malformed", "The body is not valid JSON.", str(error))
        case NotAdmitted() | Forbidden() | TooMany():
            return _problem_at_the_door(error)
        case Conflict():
            return problem(409, "conflict", "The message id is taken.", str(error))
        case TooLarge():
            return problem(413, "too-large", "The message is too large.", str(error))
        case NotNow():
            after = str(error.retry_after)
            return problem(503, "unavailable", "The message cannot be taken now.", str(error), Retry_After=after)
        case _:
            return problem(500, "internal", "Something went wrong here; it was logged.")


def _problem_at_the_door(error: NotAdmitted | Forbidden | TooMany) -> Problem:
    match error:
        case NotAdmitted():
            kind, title = f"credentials-{error.reason}", _NOT_ADMITTED[error.reason]
            return problem(401, kind, title, str(error), WWW_Authenticate=error.challenge)
        case Forbidden():
            challenge = f'Bearer realm="linkspan", error="insufficient_scope", scope="{error.scope}"'
            made = problem(403, "forbidden", "The scope is missing.", str(error), WWW_Authenticate=challenge)
            return msgspec.structs.replace(made, extra={"flow": error.flow, "scope": error.scope})
        case TooMany():
            return problem(429, "too-many", str(error), None, Retry_After=str(error.retry_after))
