"""Looking into events: whether they can be read, and what the predicate says of them."""

from __future__ import annotations

import msgspec

from linkspan.kernel.codec import MARKER, PREFIX, Datum, Decoder
from linkspan.kernel.crypto.vault import Vault
from linkspan.kernel.errors import Poison, UserMistake
from linkspan.kernel.objects import Away
from linkspan.transform.jsonata import Expression

#: What keeps a value from being read: nothing, its bytes, or its encryption; or it is there no more.
READABLE, UNREADABLE, SEALED, GONE = range(4)
_encode = msgspec.json.Encoder().encode


class EventContent:
    """A predicate sees confidential values as views show them. ``vault`` None: what is sealed cannot be decrypted.

    ``failures``: messages of which the predicate could not be asked, though they can be read; ``failure``: why, of
    the first. They are not selected."""

    def __init__(self, decoder: Decoder, predicate: Expression | None = None, vault: Vault | None = None) -> None:
        self._decoder, self._predicate, self._vault = decoder, predicate, vault
        self._there: dict[str, bool] = {}
        self._prefixes, self._sealed = decoder.prefixes, decoder.sealed_prefixes
        self.failures = 0
        self.failure = ""

    def asked(self, value: bytes | None) -> tuple[bool, int]:
        """Whether it is selected, and what keeps it from being read. What cannot be read is selected: it is a figure of
        the plan, and is not sent."""
        if value is None or (value[:PREFIX] not in self._prefixes and not self._readable(value)):
            return True, UNREADABLE
        if self._predicate is None:
            return True, self._sealed_state(value) if value[:PREFIX] in self._sealed else READABLE
        message, state = self.read(value)
        return (True, state) if message is None else (self._true(self._predicate, message), READABLE)

    def _readable(self, value: bytes) -> bool:
        """What another version of Linkspan wrote."""
        return value.startswith(MARKER) and self._decoder.unknown(value) is None

    def read(self, value: bytes | None) -> tuple[Datum | None, int]:
        """The message in its JSON form, confidential values hidden, or what keeps it from being read. The one place
        where bytes become content."""
        state = self._sealed_state(value) if value is not None and value[:PREFIX] in self._sealed else READABLE
        if state != READABLE:
            return None, state
        try:
            return self._decoder.json(value), READABLE
        except Poison:
            return None, UNREADABLE

    def _sealed_state(self, value: bytes) -> int:
        try:
            sealed = self._decoder.sealed(value)
        except Poison:
            return UNREADABLE
        return READABLE if sealed is not None and self._is_there(sealed["keyId"]) else SEALED

    def _is_there(self, key_id: str) -> bool:
        """Raises UserMistake where the blob store cannot be asked."""
        found = self._there.get(key_id)
        if found is None:
            try:
                found = self._vault is not None and self._vault.is_there(key_id)
            except Away as error:
                raise UserMistake(f"the blob store cannot be asked for the keys of events: {error}") from error
            self._there[key_id] = found
        return found

    def _true(self, predicate: Expression, message: Datum) -> bool:
        try:
            return predicate.holds(_encode(message).decode(), message)
        except Poison as error:
            self.failures += 1
            self.failure = self.failure or error.reason
            return False
