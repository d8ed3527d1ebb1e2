"""Why a call is not answered; ``told`` has the status code of each."""

from __future__ import annotations

from collections.abc import Iterable

from linkspan.kernel.errors import Fault, LinkspanError, UserMistake


class BadRequest(UserMistake):
    """INVALID_ARGUMENT, with a field violation for each fault."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults
        super().__init__("; ".join(f"{fault.field}: {fault.error}" for fault in faults))


class NotFound(UserMistake):
    """NOT_FOUND; ``reason`` is for programs, such as ``NO_SUCH_FLOW``."""

    def __init__(self, reason: str, text: str) -> None:
        self.reason = reason
        super().__init__(text)


class Precondition(UserMistake):
    """FAILED_PRECONDITION; ``reason`` as above."""

    def __init__(self, reason: str, text: str) -> None:
        self.reason = reason
        super().__init__(text)


class Away(UserMistake):
    """UNAVAILABLE: something that the answer needs cannot be reached; ``reason`` as above."""

    def __init__(self, reason: str, text: str) -> None:
        self.reason = reason
        super().__init__(text)


class NotKnown(LinkspanError):
    """UNAUTHENTICATED; ``reason``: NO_CREDENTIALS, BAD_TOKEN or EXPIRED_TOKEN."""

    def __init__(self, reason: str, text: str) -> None:
        self.reason = reason
        super().__init__(text)


class Forbidden(LinkspanError):
    """PERMISSION_DENIED: ``role`` lacks ``permission``."""

    reason = "FORBIDDEN"

    def __init__(self, text: str, role: str, permission: str) -> None:
        self.role, self.permission = role, permission
        super().__init__(text)


class NotYet(LinkspanError):
    """UNIMPLEMENTED: a call of a later version."""

    reason = "NOT_YET"

    def __init__(self, method: str) -> None:
        super().__init__(f"{method} is not there yet in this version")


def wrong(field: str, text: str) -> BadRequest:
    """One field, as the proto names it."""
    return BadRequest(Fault(field, text))


def no_such_flow(name: str, known: Iterable[str]) -> NotFound:
    return NotFound("NO_SUCH_FLOW", f"there is no flow {name}; there are {', '.join(known)}")


def kafka_away(text: str) -> Away:
    return Away("KAFKA_AWAY", text)


def more_than_expected(found: int, expected: int) -> Precondition:
    text = f"{found} are meant now, more than the {expected} that were expected; look again, then say that number"
    return Precondition("MORE_THAN_EXPECTED", text)
