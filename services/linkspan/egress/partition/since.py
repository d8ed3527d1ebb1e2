"""What live delivery did after a plan was made, as far as its records have to know."""

from __future__ import annotations

from linkspan.egress.partition.lanes import Message
from linkspan.kernel.records.listed import Listed
from linkspan.kernel.records.plan import ALREADY, SUPERSEDED, ReplayOptions


class Since:
    """The fold of live outcomes after the plan. Its list does not say keys, so the newest delivered one of each key is
    kept, of those keys that were delivered since."""

    def __init__(self, listed: Listed, options: ReplayOptions) -> None:
        self._listed, self._options = listed, options
        self._newest: dict[bytes, int] = {}
        self._delivered: set[int] = set()
        self._outdated: set[int] = set()

    def fold(self, kind: str, offset: int, key: bytes | None) -> None:
        """A valid outcome."""
        at = self._listed.at(offset)
        if at is not None and kind in ("delivered", "duplicate"):
            self._delivered.add(at)
        elif at is not None and kind == "superseded":
            self._outdated.add(at)
        if kind == "delivered" and key is not None and offset > self._newest.get(key, -1):
            self._newest[key] = offset

    def judged(self, at: int, message: Message) -> str | None:
        """Why the record at this place of the list is not to be sent any more."""
        if at in self._delivered and not self._options.force:
            return ALREADY
        if not self._options.allow_superseded and (at in self._outdated or self._is_old(message)):
            return SUPERSEDED
        return None

    def _is_old(self, message: Message) -> bool:
        """A newer one of its key was delivered, and is not sent again after it."""
        newest = self._newest.get(message.key, -1) if message.key is not None else -1
        if newest <= message.offset:
            return False
        at = self._listed.at(newest) if self._options.force else None
        return at is None or not self._listed.is_sent(at) or not self._listed.is_open(at)
