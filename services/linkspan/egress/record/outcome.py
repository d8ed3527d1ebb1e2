"""How an outcome looks in its topic."""

from __future__ import annotations

from linkspan import __version__
from linkspan.egress.partition.effect import Record
from linkspan.egress.partition.lanes import Message
from linkspan.kernel.codec import OutcomeCodec
from linkspan.kernel.message import now_micros
from linkspan.kernel.records.epoch import OWNER
from linkspan.kernel.records.event import Event, RecordHeaders, hash64
from linkspan.kernel.records.fact import DEAD, DELIVERED, DISCARDED
from linkspan.kernel.records.sent import sent_digest
from linkspan.kernel.telemetry.profiling import PROFILE
from linkspan.kernel.topics import Headers

_REASON = 1_000
#: Of a flow and replica, in a second: what left is said of so many messages.
DIGESTS = 200


def message_of(event: Event) -> Message:
    """As the partition's state takes it."""
    message_id, digest = event.message_id, event.digest
    return Message(
        event.offset,
        event.key,
        event,
        id=None if message_id is None else hash64(message_id.encode()),
        digest=0 if digest is None else int.from_bytes(digest[:8]),
        urgency=event.urgency,
        accepted_at=event.accepted_at,
        measured=PROFILE.sample(message_id or "") if PROFILE.rate else None,
    )


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")


class OutcomeWriter:
    """Outcomes of one flow, or of a replay of it; ``epoch`` is the writing owner's."""

    def __init__(self, codec: OutcomeCodec, destination: str, transform: str, plan: str | None = None) -> None:
        self._encode = codec.encode
        self._plan = plan
        self._destination = destination
        self._transform = transform
        self._second = self._digests = 0

    def owner(self, epoch: int) -> tuple[bytes, RecordHeaders]:
        """``owner(epoch)``: from here on outcomes of lower epochs are stale."""
        value = self._encode({"kind": OWNER, "offset": -1, "at": now_micros(), "epoch": epoch})
        said = (Headers.VERSION, __version__.encode())
        return value, [(Headers.KIND, OWNER.encode()), (Headers.EPOCH, b"%d" % epoch), said]

    def write(
        self, effect: Record, facts: Event | None, sent_at: int | None, epoch: int, parked: int | None = None
    ) -> tuple[bytes, RecordHeaders]:
        """The record's value and headers; ``sent_at`` is when the deciding attempt began, microseconds, ``parked``
        where the copy stands. ``facts`` are None where it is about a key alone."""
        message, error, at = effect.message, effect.error, now_micros()
        offset = message.offset
        value = self._encode(
            {
                "kind": effect.kind,
                "offset": offset,
                "messageId": facts.message_id if facts else None,
                "correlationId": facts.correlation_id if facts else None,
                "key": _text(message.key),
                "at": at,
                "epoch": epoch,
                "attempt": message.charged,
                "failure": error.failure.value if error else None,
                "reason": error.reason[:_REASON] if error else None,
                "destination": self._destination,
                "acceptedAt": facts.accepted_at if facts else None,
                "sentAt": sent_at,
                "sent": self._sent(effect, at),
                "transform": self._transform,
                "command": None if effect.control < 0 else effect.control,
                "plan": self._plan,
            }
        )
        headers = _headers(effect, facts, epoch, parked)
        if self._plan is not None:
            headers.append((Headers.PLAN, self._plan.encode()))
        return value, headers

    def _sent(self, effect: Record, at: int) -> bytes | None:
        """Of live messages, for shadows; of many in a second only the first: it costs as much as the outcome itself.
        Not of confidential values, which could be guessed by it."""
        prepared = effect.message.prepared
        if effect.kind != DELIVERED or self._plan is not None or prepared is None or prepared.secrets is not None:
            return None
        second = at // 1_000_000
        if second != self._second:
            self._second, self._digests = second, 0
        self._digests += 1
        return sent_digest(prepared.header, prepared.payload) if self._digests <= DIGESTS else None


def _headers(effect: Record, facts: Event | None, epoch: int, parked: int | None) -> RecordHeaders:
    headers: RecordHeaders = [
        (Headers.KIND, effect.kind.encode()),
        (Headers.OFFSET, b"%d" % effect.message.offset),
        (Headers.EPOCH, b"%d" % epoch),
    ]
    if parked is not None:
        headers.append((Headers.PARKED, b"%d" % parked))
    if effect.hold:
        headers.append((Headers.HOLD, b"1"))
    if effect.control >= 0:
        headers.append((Headers.CONTROL, b"%d" % effect.control))
    if effect.flushed:
        headers.append((Headers.FLUSHED, b"1"))
    if effect.until >= 0:
        headers.append((Headers.UNTIL, b"%d" % effect.until))
    return headers if facts is None else headers + _of_message(effect, facts)


def _of_message(effect: Record, facts: Event) -> RecordHeaders:
    headers: RecordHeaders = []
    if effect.kind in (DEAD, DISCARDED):
        headers.append((Headers.ACCEPTED_AT, b"%d" % facts.accepted_at))
    if facts.message_id:
        headers.append((Headers.MESSAGE_ID, facts.message_id.encode()))
    if facts.correlation_id:
        headers.append((Headers.CORRELATION_ID, facts.correlation_id.encode()))
    if facts.digest:
        headers.append((Headers.DIGEST, facts.digest))
    return headers
