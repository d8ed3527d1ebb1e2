"""Secrets of an integration file, encrypted by the keyring: ``sealed:<key id>:<base64>`` instead of plain text."""

from __future__ import annotations

import base64
import binascii
import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from linkspan.kernel.crypto.keyring import NONCE_BYTES, Keyring
from linkspan.kernel.crypto.wrapper import KeyAway, Wrapped
from linkspan.kernel.errors import Undecryptable, UserMistake

SEALED = "sealed:"
_CONTEXT = b"linkspan secret of an integration file"


def seal_text(secret: str, keyring: Keyring) -> str:
    entry, nonce = keyring.keys.keys[-1], os.urandom(NONCE_BYTES)
    content = nonce + AESGCM(entry.key).encrypt(nonce, secret.encode(), _CONTEXT)
    return f"{SEALED}{entry.id}:{base64.b64encode(content).decode()}"


def open_text(text: str, keyring: Keyring) -> str:
    """Raises UserMistake, which quotes nothing of it."""
    key_id, _, content = text.removeprefix(SEALED).partition(":")
    try:
        return keyring.opened(Wrapped(key_id, base64.b64decode(content, validate=True)), _CONTEXT).decode()
    except binascii.Error:
        raise UserMistake("expected sealed:<key id>:<base64>, as linkspan keyring seal prints it") from None
    except KeyAway:
        raise UserMistake(f"the keyring has no key {key_id[:64]!r}, which encrypted it") from None
    except Undecryptable:
        raise UserMistake("it cannot be decrypted: it was altered, or another keyring encrypted it") from None
