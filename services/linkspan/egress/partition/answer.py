"""Answers that decide more than their failure class says."""

from __future__ import annotations

from linkspan.kernel.errors import Rejected, Unavailable


class Unanswered(Unavailable):
    """The message left and its answer never came: the destination may have it, so the next attempt is marked."""


class Superseded(Rejected):
    """The destination already holds something newer of the same key; nothing is wrong with the message."""
