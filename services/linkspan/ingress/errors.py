"""Why a message is not taken; ``InvalidMessage`` (kernel) is the other reason."""

from __future__ import annotations

from linkspan.kernel.errors import LinkspanError


class Malformed(LinkspanError):
    """The body is not JSON as RFC 8259 has it."""


class Conflict(LinkspanError):
    """The message id was accepted a moment ago with another payload."""


class TooLarge(LinkspanError):
    """A limit was passed; the text names it."""


class NotNow(LinkspanError):
    """Kafka or the blob store cannot take it; ``retry_after`` (seconds) is when to ask again."""

    def __init__(self, reason: str, retry_after: int = 2) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class NotAdmitted(LinkspanError):
    """It is not known who sends: ``reason`` is missing, unknown, expired or revoked, ``challenge`` the value of
    WWW-Authenticate."""

    challenge = ""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Forbidden(LinkspanError):
    """Whoever sends lacks ``scope`` for the messages of ``flow``."""

    def __init__(self, flow: str, scope: str) -> None:
        super().__init__(f"messages of the flow {flow} need the scope {scope}")
        self.flow, self.scope = flow, scope


class TooMany(LinkspanError):
    """``retry_after`` in seconds."""

    def __init__(self, reason: str, retry_after: int) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
