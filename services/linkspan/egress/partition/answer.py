"""Answers that decide more than their failure class says."""

from __future__ import annotations

from linkspan.kernel.errors import Doubtful, Poison, Rejected, Unavailable


class Unanswered(Doubtful):
    """The message left and its answer never came: the destination may have it, so the next attempt is marked."""


class Withheld(Unavailable):
    """It was not sent, for a reason of ours: it says nothing of the destination."""


class Superseded(Rejected):
    """The destination already holds something newer of the same key; nothing is wrong with the message."""


class Unreadable(Poison):
    """Its bytes cannot be decoded; what decodes and cannot be mapped is Poison alone."""
