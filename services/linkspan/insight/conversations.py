"""What is known of one conversation, and what follows from it. Pure.

The first request and the first answer count, by the time at which ingress took them: taking a mention in again, or in
another order, gives the same conversation.
"""

from __future__ import annotations

from typing import Any

import msgspec

WAITING, ANSWERED, OVERDUE, LATE = "waiting", "answered", "overdue", "late"


class Mention(msgspec.Struct, array_like=True, frozen=True):
    """What one event says of a conversation. ``flow``: that of the request; ``by``: that of the event, the same where
    it is the request itself. ``at``: microseconds since 1970, when ingress took it."""

    flow: str
    by: str
    at: int
    message_id: str

    @property
    def is_request(self) -> bool:
        return self.flow == self.by


class Side(msgspec.Struct, array_like=True, frozen=True, order=True):
    at: int
    message_id: str
    flow: str


class Conversation(msgspec.Struct, array_like=True, frozen=True):
    """``touched``: when it last changed here; ``missed``: its deadline has passed without an answer."""

    request: Side | None = None
    answer: Side | None = None
    missed: bool = False
    touched: int = 0

    def with_mention(self, mention: Mention, now: int) -> Conversation:
        """The same object where it says nothing new."""
        side = Side(mention.at, mention.message_id, mention.by)
        known = self.request if mention.is_request else self.answer
        if known is not None and known <= side:
            return self
        if mention.is_request:
            return msgspec.structs.replace(self, request=side, touched=now)
        return msgspec.structs.replace(self, answer=side, touched=now)

    def overdue(self, now: int) -> Conversation:
        return msgspec.structs.replace(self, missed=True, touched=now)

    def state(self, within: int) -> str | None:
        """None while no request is known; ``within``: microseconds."""
        if self.request is None:
            return None
        if self.answer is not None:
            return ANSWERED if self.answer.at <= self.request.at + within else LATE
        return OVERDUE if self.missed else WAITING

    @property
    def round_trip(self) -> float | None:
        """Seconds from request to answer."""
        if self.request is None or self.answer is None:
            return None
        return max(0, self.answer.at - self.request.at) / 1e6

    def record(self, correlation_id: str, within: int) -> dict[str, Any]:
        """As ``linkspan.Conversation``; there is a request."""
        assert self.request is not None  # noqa: S101 - says what the docstring does to the type checker
        answer = self.answer
        return {
            "correlationId": correlation_id,
            "requestFlow": self.request.flow,
            "requestMessageId": self.request.message_id,
            "requestAt": self.request.at,
            "answerFlow": answer.flow if answer else None,
            "answerMessageId": answer.message_id if answer else None,
            "answerAt": answer.at if answer else None,
            "dueAt": self.request.at + within,
            "state": self.state(within),
        }


class Keeping(msgspec.Struct, frozen=True):
    """Microseconds: ``finished``: how long one that is answered, or has no request, is kept; ``unanswered``: how long
    one that is overdue waits for its answer."""

    finished: int
    unanswered: int

    def looked_at(self, conversation: Conversation, within: int) -> int:
        """When something is to be done about it: told overdue, or forgotten."""
        state = conversation.state(within)
        if state == WAITING and conversation.request is not None:
            return conversation.request.at + within
        return conversation.touched + (self.unanswered if state == OVERDUE else self.finished)


_mention, _conversation = msgspec.msgpack.Decoder(Mention), msgspec.msgpack.Decoder(Conversation)
encode = msgspec.msgpack.Encoder().encode


def read_mention(value: bytes | None) -> Mention:
    """Raises msgspec.DecodeError."""
    return _mention.decode(value or b"")


def read_conversation(value: bytes) -> Conversation:
    """Raises msgspec.DecodeError."""
    return _conversation.decode(value)
