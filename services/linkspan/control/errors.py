"""Why a call is not answered; the server turns each into its status code and details."""

from __future__ import annotations

from linkspan.kernel.errors import Fault, UserMistake


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
