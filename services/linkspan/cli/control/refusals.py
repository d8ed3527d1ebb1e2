"""What a failed call means to a person: one line that says what to do, and an exit code."""

from __future__ import annotations

from contextlib import suppress

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2 as details
from google.rpc.status_pb2 import Status

from linkspan.cli.ended import CommandEnded, ExitCode

_Code = grpc.StatusCode
_DETAILS = "grpc-status-details-bin"
_CODES = {
    _Code.INVALID_ARGUMENT: ExitCode.MISTAKE,
    _Code.OUT_OF_RANGE: ExitCode.MISTAKE,
    _Code.NOT_FOUND: ExitCode.NO,
    _Code.FAILED_PRECONDITION: ExitCode.NO,
    _Code.ALREADY_EXISTS: ExitCode.NO,
    _Code.ABORTED: ExitCode.NO,
    _Code.UNIMPLEMENTED: ExitCode.NO,
    _Code.UNAUTHENTICATED: ExitCode.NOT_ALLOWED,
    _Code.PERMISSION_DENIED: ExitCode.NOT_ALLOWED,
    _Code.CANCELLED: ExitCode.INTERRUPTED,
}
#: A name that is not there is a mistake; a message that is not there is an answer.
_MISTAKEN_NAMES = {"NO_SUCH_FLOW", "NO_SUCH_SYSTEM", "NO_SUCH_DESTINATION"}
#: Fields of requests, as a person gave them.
_FIELDS = {
    "reason": "--reason",
    "target.flow": "FLOW",
    "target.destination": "--destination",
    "target": "FLOW or --destination",
    "page_token": "page token",
    "page_size": "--limit",
    "filter.names": "PARTITION:OFFSET",
    "name": "PARTITION:OFFSET",
    "level": "LEVEL",
    "sample_rate": "--sample-rate",
    "event": "--event",
    "every": "--watch",
    "plan": "PLAN",
    "scopes": "--flow",
    "expires": "--expires",
    "key": "NAME|ID",
    "predicate": "--where",
    "keys": "--key",
    "message_ids": "--message-id",
    "correlation_ids": "--correlation-id",
    "types": "--type",
    "statuses": "--status",
    "not_statuses": "--not-status",
}
_TOKENS = {
    "NO_CREDENTIALS": "it asks who you are: set LINKSPAN_TOKEN, or use a profile with token_file or certificate; "
    "a replica of this machine keeps one in its LINKSPAN_DATA",
    "BAD_TOKEN": "it does not know the token (LINKSPAN_TOKEN, --token or the profile's token_file)",
    "EXPIRED_TOKEN": "the token has expired; get a new one",
}


def refusal(error: grpc.RpcError, address: str) -> CommandEnded:
    """``address``: who was asked."""
    code, said = error.code(), error.details() or ""
    found = _details(error)
    reason = found.info.reason
    if code is _Code.INVALID_ARGUMENT and found.violations:
        lines = (f"{_option(one.field)}{one.description}" for one in found.violations)
        return CommandEnded("\n".join(lines), ExitCode.MISTAKE)
    if code is _Code.UNAUTHENTICATED:
        return CommandEnded(f"{address}: {_TOKENS.get(reason) or said}", ExitCode.NOT_ALLOWED)
    if code is _Code.PERMISSION_DENIED:
        return CommandEnded(f"not allowed: {said}", ExitCode.NOT_ALLOWED)
    if code in _CODES:
        return CommandEnded(said or code.name, ExitCode.MISTAKE if reason in _MISTAKEN_NAMES else _CODES[code])
    return CommandEnded(_away(code, said, found, address), ExitCode.AWAY)


def gone(error: grpc.RpcError) -> bool:
    """No replica said this: the connection broke, or no answer came in time."""
    return error.code() in (_Code.UNAVAILABLE, _Code.DEADLINE_EXCEEDED) and not _details(error).info.reason


class _Details:
    def __init__(self) -> None:
        self.info = details.ErrorInfo()
        self.violations: list[details.BadRequest.FieldViolation] = []
        self.wait: float | None = None

    def take(self, part: Any) -> None:
        bad, retry = details.BadRequest(), details.RetryInfo()
        if part.Unpack(bad):
            self.violations += bad.field_violations
        elif part.Unpack(retry):
            self.wait = retry.retry_delay.ToTimedelta().total_seconds()
        else:
            part.Unpack(self.info)


def _details(error: grpc.RpcError) -> _Details:
    found = _Details()
    for one in error.trailing_metadata() or ():
        if one.key == _DETAILS:
            with suppress(DecodeError):  # of a proxy between, perhaps
                for part in Status.FromString(one.value).details:
                    found.take(part)
    return found


def _option(field: str) -> str:
    """Empty where the whole request is meant."""
    name = _FIELDS.get(field) or "--" + field.removeprefix("filter.").replace("_", "-")
    return f"{name}: " if field else ""


def _away(code: grpc.StatusCode, said: str, found: _Details, address: str) -> str:
    if code is _Code.DEADLINE_EXCEEDED:
        return f"{address} gave no answer in time"
    if code in (_Code.UNKNOWN, _Code.INTERNAL):
        return f"{address} failed: {said or code.name}; its log says more"
    again = f"; try again in {found.wait:g} s" if found.wait else ""
    return f"{'' if found.info.reason else address + ': '}{said or code.name}{again}"
