"""What goes wrong in a call, and how the caller is told: a code, one sentence, and details for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import grpc
from aiokafka.errors import KafkaError
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from linkspan.kernel.errors import LinkspanError, UserMistake
from linkspan.kernel.topic_admin import KafkaAway

DOMAIN = "linkspan"
_DETAILS = "grpc-status-details-bin"
_RETRY = 1.0


class CallError(LinkspanError):
    """Ends a call with ``code``. ``reason``: one word for programs; ``retry_after``: seconds."""

    def __init__(
        self,
        code: grpc.StatusCode,
        text: str,
        reason: str,
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(text)
        self.code, self.reason, self.metadata, self.retry_after = code, reason, dict(metadata or {}), retry_after

    def details(self) -> list[Message]:
        """For the caller's program."""
        found: list[Message] = [ErrorInfo(reason=self.reason, domain=DOMAIN, metadata=self.metadata)]
        if self.retry_after is not None:
            wait = Duration()
            wait.FromNanoseconds(int(self.retry_after * 1e9))
            found.append(RetryInfo(retry_delay=wait))
        return found


class WrongField(UserMistake):
    """A field of a request; ``field`` as the proto names it."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(f"{field}: {text}")
        self.field, self.text = field, text


def not_found(reason: str, text: str) -> CallError:
    return CallError(grpc.StatusCode.NOT_FOUND, text, reason)


def no_such_flow(name: str, known: Iterable[str]) -> CallError:
    return not_found("NO_SUCH_FLOW", f"there is no flow {name}; there are {', '.join(known)}")


def kafka_away(text: str) -> CallError:
    return CallError(grpc.StatusCode.UNAVAILABLE, text, "KAFKA_AWAY", retry_after=_RETRY)


def more_than_expected(found: int, expected: int) -> CallError:
    text = f"{found} are meant now, more than the {expected} that were expected; look again, then say that number"
    return CallError(grpc.StatusCode.FAILED_PRECONDITION, text, "MORE_THAN_EXPECTED", {"found": str(found)})


def not_yet(method: str) -> CallError:
    text = f"{method} is not there yet in this version"
    return CallError(grpc.StatusCode.UNIMPLEMENTED, text, "NOT_YET")


def told(error: Exception) -> tuple[grpc.StatusCode, str, list[Message]] | None:
    """What the caller is told of it; None for what is our fault."""
    if isinstance(error, CallError):
        return error.code, str(error), error.details()
    if isinstance(error, KafkaAway | KafkaError | OSError) and not isinstance(error, TimeoutError):
        away = kafka_away(f"Kafka does not answer: {error}")
        return away.code, str(away), away.details()
    if isinstance(error, UserMistake):
        wrong = error if isinstance(error, WrongField) else None
        violation = BadRequest.FieldViolation(
            field=wrong.field if wrong else "", description=wrong.text if wrong else str(error)
        )
        return grpc.StatusCode.INVALID_ARGUMENT, str(error), [BadRequest(field_violations=[violation])]
    if isinstance(error, TimeoutError):
        info = ErrorInfo(reason="TIMED_OUT", domain=DOMAIN)
        return grpc.StatusCode.DEADLINE_EXCEEDED, "no answer in time", [info]
    return None


def trailing(code: grpc.StatusCode, text: str, details: Iterable[Message]) -> tuple[tuple[str, bytes], ...]:
    """The metadata that carries ``details``, as google.rpc.Status."""
    status = Status(code=code.value[0], message=text)
    for one in details:
        packed = AnyMessage()
        packed.Pack(one)
        status.details.append(packed)
    return ((_DETAILS, status.SerializeToString()),)
