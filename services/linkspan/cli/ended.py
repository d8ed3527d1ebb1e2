"""How a command ends: exit codes, and the exception that carries one with its line."""

from __future__ import annotations

from enum import IntEnum

from linkspan.kernel.errors import LinkspanError


class ExitCode(IntEnum):
    """Stable; scripts rely on them. ``NO``: the answer is no; ``MISTAKE``: in what was given; ``AWAY``: not reached;
    ``STOPPED``: a replay was cancelled or aborted."""

    DONE = 0
    NO = 1
    MISTAKE = 2
    AWAY = 3
    NOT_ALLOWED = 4
    STOPPED = 5
    INTERRUPTED = 130


class CommandEnded(LinkspanError):
    """The command could not do what was asked; the text is for stderr."""

    def __init__(self, text: str, code: ExitCode) -> None:
        super().__init__(text)
        self.code = code
