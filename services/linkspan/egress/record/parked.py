"""A copy in ``parked``: the original bytes and headers of a message that is not delivered now, and why."""

from __future__ import annotations

from linkspan.egress.partition.effect import Record
from linkspan.egress.partition.lanes import Message
from linkspan.egress.record.outcome import message_of
from linkspan.kernel.message import now_micros
from linkspan.kernel.records.event import Event, RecordHeaders
from linkspan.kernel.records.parked import Copy, copy_key
from linkspan.kernel.topics import Headers


def parked_copy(effect: Record, facts: Event, epoch: int) -> tuple[bytes, bytes, RecordHeaders]:
    """Key, value and headers. An event without a value is kept as one without bytes: null would be a tombstone."""
    message, error = effect.message, effect.error
    headers = [*facts.headers]
    headers += [
        (Headers.PARKED_KIND, effect.kind.encode()),
        (Headers.PARKED_AT, b"%d" % now_micros()),
        (Headers.PARKED_EPOCH, b"%d" % epoch),
        (Headers.PARKED_ATTEMPTS, b"%d" % message.charged),
    ]
    if message.key is not None:
        headers.append((Headers.PARKED_KEY, message.key))
    if message.redelivery:
        headers.append((Headers.PARKED_REDELIVERY, b"1"))
    if error is not None:
        headers.append((Headers.PARKED_FAILURE, error.failure.value.encode()))
        headers.append((Headers.PARKED_REASON, error.reason.encode()))
    return copy_key(message.offset), facts.value or b"", headers


def copied(copy: Copy) -> Message:
    """The message as it was fetched once."""
    message = message_of(copy.event())
    message.redelivery = copy.redelivery
    return message
