"""What the control topic says of API keys. Pure: a verdict follows from what came before it alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from linkspan.control.replays import Said
from linkspan.control.verdict import Verdict
from linkspan.kernel.commands import ISSUE_KEY, REVOKE_KEY, Command
from linkspan.kernel.records.api_key import ApiKey

#: Keys that are neither revoked nor expired.
MOST_ACTIVE = 10_000


@dataclass(slots=True)
class Issued:
    key: ApiKey
    issued: Said
    revoked: Said | None = None

    def active(self, at: int) -> bool:
        """``at``: microseconds since 1970."""
        return self.revoked is None and not self.key.expired(at)


class Keys:
    """``by_id``: all that were ever issued, in the order in which they were."""

    def __init__(self) -> None:
        self.by_id: dict[str, Issued] = {}
        self.folds: dict[str, Callable[[Command], Verdict]] = {ISSUE_KEY: self._issue, REVOKE_KEY: self._revoke}

    def named(self, name: str, at: int) -> Issued | None:
        """The active one of this name."""
        return next((one for one in self.by_id.values() if one.key.name == name and one.active(at)), None)

    def _issue(self, command: Command) -> Verdict:
        key = command.body
        if not isinstance(key, ApiKey) or key.id != command.value or key.id in self.by_id:
            return Verdict("is no new key", False)
        if self.named(key.name, command.at) is not None:
            return Verdict(f"there is a key named {key.name} already", False)
        if sum(one.active(command.at) for one in self.by_id.values()) >= MOST_ACTIVE:
            return Verdict(f"there are {MOST_ACTIVE} keys already", False)
        self.by_id[key.id] = Issued(key, Said.of(command))
        return Verdict("issued", True)

    def _revoke(self, command: Command) -> Verdict:
        found = self.by_id.get(command.value)
        if found is None:
            return Verdict("there is no such key", False)
        if found.revoked is not None:
            return Verdict(f"was revoked already by {found.revoked.by}", False)
        found.revoked = Said.of(command)
        return Verdict("revoked", True)
