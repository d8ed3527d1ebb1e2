"""That the ledger's database cannot be asked."""

from __future__ import annotations

from linkspan.kernel.errors import LinkspanError


class DatabaseAway(LinkspanError):
    """It does not answer, is locked, is full, is damaged, or has no tables yet."""
