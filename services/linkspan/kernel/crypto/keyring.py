"""The keyring file: keys by id, of which the newest wraps and every one unwraps.

YAML: ``digest`` (base64 of 32 bytes, the same for ever) and ``keys``, a list of ``{id, created, key}`` with ``created``
in ISO 8601 with a zone and ``key`` base64 of 32 bytes. Whoever may read it may read everything.
"""

from __future__ import annotations

import base64
import os
import re
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import msgspec
import structlog
import yaml
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from linkspan.kernel.crypto.wrapper import KeyAway, Wrapped
from linkspan.kernel.errors import Undecryptable, UserMistake
from linkspan.kernel.telemetry.metrics import KEY_CREATED
from linkspan.kernel.watched import Watched

log = structlog.get_logger()

#: Older than this a key is to be replaced; the alert and the runbook say the same.
OLD = timedelta(days=90)
KEY_BYTES = 32
NONCE_BYTES = 12
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}\Z")


class Entry(msgspec.Struct, frozen=True):
    """One key; its representation does not show it."""

    id: str
    created: Annotated[datetime, msgspec.Meta(tz=True)]
    key: bytes

    def __repr__(self) -> str:
        return f"Entry({self.id!r}, {self.created.isoformat()})"

    def age(self, now: datetime | None = None) -> timedelta:
        return max((now or datetime.now(UTC)) - self.created, timedelta())


class Keys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file says; in order of ``created``, the newest last."""

    digest: bytes
    keys: tuple[Entry, ...]

    def __repr__(self) -> str:
        return f"Keys({list(self.keys)})"


def read_keys(text: str) -> Keys:
    """Raises UserMistake that quotes nothing of the file."""
    try:
        found = msgspec.convert(yaml.safe_load(text), Keys, strict=True)
    except msgspec.ValidationError as error:
        raise UserMistake(f"it is no keyring: {error}; linkspan keyring rotate makes one") from None
    except yaml.YAMLError:
        raise UserMistake("it is not YAML") from None
    for entry in found.keys:
        if not _ID.match(entry.id):
            raise UserMistake("an id of a key is letters, digits and hyphens, at most 64")
        if len(entry.key) != KEY_BYTES:
            raise UserMistake(f"key {entry.id} has {len(entry.key)} bytes, expected base64 of {KEY_BYTES}")
    if len(found.digest) != KEY_BYTES:
        raise UserMistake(f"digest has {len(found.digest)} bytes, expected base64 of {KEY_BYTES}")
    if not found.keys or len({entry.id for entry in found.keys}) < len(found.keys):
        raise UserMistake("it needs at least one key, each with an id of its own")
    return Keys(found.digest, tuple(sorted(found.keys, key=lambda entry: entry.created)))


def written(keys: Keys) -> str:
    """As ``read_keys`` takes it."""
    said = {
        "digest": base64.b64encode(keys.digest).decode(),
        "keys": [
            {"id": one.id, "created": one.created.isoformat(), "key": base64.b64encode(one.key).decode()}
            for one in keys.keys
        ],
    }
    text: str = yaml.safe_dump(said, sort_keys=False)
    return "# Linkspan's keyring: whoever reads it reads everything. linkspan keyring rotate adds a key.\n" + text


class Keyring:
    """A ``KeyWrapper`` from a file, read again when it changes. Raises UserMistake where it cannot be used."""

    def __init__(self, path: Path) -> None:
        check_mode(path)
        self.path = path
        self._watched = Watched(path, read_keys)
        self._secret = self.keys.digest
        self._said: str | None = None
        self._look_at_age()

    @property
    def keys(self) -> Keys:
        return self._watched.content

    @property
    def newest(self) -> str:
        return self.keys.keys[-1].id

    @property
    def created(self) -> datetime:
        return self.keys.keys[-1].created

    @property
    def secret(self) -> bytes:
        """The first one that was read: with another, no digest of this process would be as before."""
        return self._secret

    def tell_age(self) -> None:
        """The age of the newest key is a metric from now on, of the file as it is when it is asked for."""
        KEY_CREATED.labels("keyring").set_function(self._created_at)

    def _created_at(self) -> float:
        self._look_at_age()
        return self.created.timestamp()

    def _look_at_age(self) -> None:
        entry = self.keys.keys[-1]
        if entry.age() > OLD and self._said != entry.id:
            self._said = entry.id
            log.warning(
                "the newest key of the keyring is old: linkspan keyring rotate", key=entry.id, days=entry.age().days
            )

    async def wrap(self, key: bytes, context: bytes) -> Wrapped:
        entry, nonce = self.keys.keys[-1], os.urandom(NONCE_BYTES)
        return Wrapped(entry.id, nonce + AESGCM(entry.key).encrypt(nonce, key, context))

    async def unwrap(self, wrapped: Wrapped, context: bytes) -> bytes:
        return self.opened(wrapped, context)

    def opened(self, wrapped: Wrapped, context: bytes) -> bytes:
        """As ``unwrap``."""
        entry = next((one for one in self.keys.keys if one.id == wrapped.key_id), None)
        if entry is None:
            raise KeyAway(f"the keyring of this process has no key {wrapped.key_id[:64]}: has a rotation not arrived?")
        nonce, content = wrapped.content[:NONCE_BYTES], wrapped.content[NONCE_BYTES:]
        try:
            return AESGCM(entry.key).decrypt(nonce, content, context)
        except (InvalidTag, ValueError):
            raise Undecryptable(f"what key {entry.id} wrapped was altered, or is of another place") from None


def check_mode(path: Path) -> None:
    """Raises UserMistake where others than its owner and group may read it, or it is not there."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise UserMistake(
            f"the keyring {path} cannot be read: {error.strerror}; linkspan keyring rotate makes it"
        ) from error
    if mode & 0o027:
        raise UserMistake(f"the keyring {path} has mode {mode:04o}: chmod 600 (or 440 for a group of its own)")
