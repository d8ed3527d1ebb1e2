"""Encryption at rest as a process starts with it."""

from __future__ import annotations

from pathlib import Path

import structlog

from linkspan.kernel.blobs import BlobStore
from linkspan.kernel.config import Settings
from linkspan.kernel.crypto.keyring import Keyring
from linkspan.kernel.crypto.marks import marked_fields
from linkspan.kernel.crypto.vault import Vault
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.objects import Objects
from linkspan.kernel.schemas import SchemaCatalog, expanded
from linkspan.kernel.spec import Integration

log = structlog.get_logger()


def blob_store(url: str, keyring: Path | None, integration: str) -> BlobStore:
    """With the integration's vault where there is a keyring. Raises UserMistake."""
    if keyring is None:
        return BlobStore(url)
    made = Keyring(keyring)
    made.tell_age()
    return BlobStore(url, Vault(made, Objects(url), integration), keyring)


def checked_blob_store(settings: Settings, integration: Integration, catalog: SchemaCatalog) -> BlobStore:
    """The process' own. Raises UserMistake, as ``blob_store`` and ``check_keyring`` do."""
    check_keyring(settings, integration, catalog)
    return blob_store(settings.blobs, settings.linkspan_keyring, integration.integration)


def check_keyring(settings: Settings, integration: Integration, catalog: SchemaCatalog) -> None:
    """Raises UserMistake where a flow has confidential fields and nothing to encrypt them with; where plain text is
    allowed, says so."""
    for name, flow in integration.flows.items() if settings.linkspan_keyring is None else ():
        schema = expanded(catalog.latest(integration.integration, flow.type).definition)
        field = next(marked_fields(schema), None)
        if field is None:
            continue
        if not settings.plain_text:
            raise UserMistake(
                f"LINKSPAN_KEYRING is not set, and flow {name} has confidential fields ({flow.type}: {field}): make a "
                "keyring with linkspan keyring rotate --file FILE, and give it to every process"
            )
        log.warning("confidential fields are stored in the open: LINKSPAN_KEYRING is not set", flow=name, field=field)
