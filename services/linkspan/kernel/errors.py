"""What can go wrong, in the words that decide what happens next.

A delivery fails in one of six classes; ``FailureClass`` is the only place they are listed:

- *unavailable*: the other system could not be asked or said "later"; spends no attempt.
- *transient*: it answered this message with a failure that may pass; spends an attempt.
- *rejected*: it said no to this message for good.
- *poison*: we cannot read, map or decrypt the message.
- *expired*: its ``ttl`` passed before delivery.
- *conflict*: another message with the same id and other content came before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class FailureClass(StrEnum):
    UNAVAILABLE = "unavailable"
    TRANSIENT = "transient"
    REJECTED = "rejected"
    POISON = "poison"
    EXPIRED = "expired"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with an input: ``field`` is a dotted path such as ``payload.planId``."""

    field: str
    error: str


class LinkspanError(Exception):
    """Base of every error that Linkspan raises on purpose."""


class UserMistake(LinkspanError):
    """Input of a person was wrong; the text is one line that says what to do. The CLI exits with 2."""


class KafkaAway(UserMistake):
    """Kafka does not answer, or says no. The CLI exits with 3."""


class InvalidMessage(LinkspanError):
    """A message does not fit its schema; carries all faults, not only the first."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{fault.field}: {fault.error}" for fault in self.faults))


class DeliveryError(LinkspanError):
    """A message was not delivered; ``failure`` says in which class, ``retry_after`` (seconds) when to ask again."""

    failure: FailureClass

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class Unavailable(DeliveryError):
    failure = FailureClass.UNAVAILABLE


class Doubtful(Unavailable):
    """No answer came, or one such as 500: that may be for the sake of this request alone."""


class RateLimited(Unavailable):
    """It says that we ask more often than it allows (429)."""


class Transient(DeliveryError):
    failure = FailureClass.TRANSIENT


class Rejected(DeliveryError):
    failure = FailureClass.REJECTED


class Poison(DeliveryError):
    failure = FailureClass.POISON


class UnknownWriter(Poison):
    """The schema that the bytes were written with is not known here; another version may have published it.
    ``fingerprint``: 8 bytes."""

    def __init__(self, fingerprint: bytes) -> None:
        super().__init__(f"no released schema has the fingerprint {fingerprint.hex()}")
        self.fingerprint = fingerprint


class Undecryptable(Poison):
    """Its key is gone (shredded), or what was encrypted was altered."""


class Expired(DeliveryError):
    failure = FailureClass.EXPIRED


class Conflict(DeliveryError):
    failure = FailureClass.CONFLICT
