"""How a caller is told what went wrong: a status code, one sentence, and details for programs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from aiokafka.errors import KafkaError
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from linkspan.control.errors import Away, BadRequest, Forbidden, NotFound, NotKnown, NotYet, Precondition, kafka_away
from linkspan.kernel.archive.errors import ArchiveAway, ArchiveDamaged
from linkspan.kernel.blobs import BlobsAway
from linkspan.kernel.errors import Fault, KafkaAway, UserMistake
from linkspan.readmodel.away import DatabaseAway

Told = tuple[StatusCode, str, list[Message]]

DOMAIN = "linkspan"
_DETAILS = "grpc-status-details-bin"
#: Characters of a sentence, and of the faults that are named one by one.
_SAID, _FAULTS = 400, 8
_AGAIN = Duration(seconds=1)
_CODES: dict[type[Exception], StatusCode] = {
    NotFound: StatusCode.NOT_FOUND,
    Precondition: StatusCode.FAILED_PRECONDITION,
    NotKnown: StatusCode.UNAUTHENTICATED,
    Forbidden: StatusCode.PERMISSION_DENIED,
    NotYet: StatusCode.UNIMPLEMENTED,
}


def told(error: Exception) -> Told | None:
    """None for what is our fault."""
    if isinstance(error, TimeoutError):
        return StatusCode.DEADLINE_EXCEEDED, "no answer in time", [_info("TIMED_OUT")]
    if isinstance(error, KafkaAway | KafkaError | OSError):
        error = kafka_away(f"Kafka does not answer: {error}")
    if isinstance(error, ArchiveAway):
        error = Away("ARCHIVE_AWAY", str(error))
    if isinstance(error, BlobsAway):
        error = Away("BLOBS_AWAY", str(error))
    if isinstance(error, ArchiveDamaged):
        error = Precondition("ARCHIVE_DAMAGED", str(error))
    if isinstance(error, DatabaseAway):
        error = Away("LEDGER_AWAY", f"the ledger's database does not answer: {error}")
    if isinstance(error, Away):
        return StatusCode.UNAVAILABLE, str(error), [_info(error.reason), details.RetryInfo(retry_delay=_AGAIN)]
    if isinstance(error, NotFound | Precondition | NotKnown | Forbidden | NotYet):
        said = {"role": error.role, "permission": error.permission} if isinstance(error, Forbidden) else {}
        return _CODES[type(error)], str(error), [_info(error.reason, **said)]
    if isinstance(error, UserMistake):
        faults = error.faults if isinstance(error, BadRequest) else (Fault("", str(error)),)
        return StatusCode.INVALID_ARGUMENT, str(error), [_violations(faults)]
    return None


def shortened(text: str) -> str:
    """A text that repeats what was asked must fit into the metadata of an answer, which clients limit to 8 KiB."""
    return text if len(text) <= _SAID else f"{text[: _SAID - 1]}…"


def trailing(code: StatusCode, text: str, said: Iterable[Message]) -> tuple[tuple[str, bytes], ...]:
    """The metadata that carries the details, as google.rpc.Status."""
    status = Status(code=code.value[0], message=shortened(text))
    for one in said:
        packed = AnyMessage()
        packed.Pack(one)
        status.details.append(packed)
    return ((_DETAILS, status.SerializeToString()),)


def _info(reason: str, **metadata: str) -> Message:
    found: Message = details.ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata)
    return found


def _violations(faults: Iterable[Fault]) -> Message:
    found: Message = details.BadRequest(
        field_violations=[
            details.BadRequest.FieldViolation(field=shortened(fault.field), description=shortened(fault.error))
            for fault in itertools.islice(faults, _FAULTS)
        ]
    )
    return found
