"""What can be wrong with an archive."""

from __future__ import annotations

from linkspan.kernel.errors import LinkspanError


class ArchiveAway(LinkspanError):
    """It cannot be read now, or there is none where one is named."""


class ArchiveDamaged(LinkspanError):
    """A segment is not what its name says, or the archive is of another log."""
