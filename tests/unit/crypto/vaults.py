"""A keyring and a store for tests that need no process."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from linkspan.kernel.crypto.keyring import Keyring
from linkspan.kernel.crypto.keyring_file import rotate
from linkspan.kernel.crypto.vault import Vault
from linkspan.kernel.objects import Objects


def keyring_file(folder: Path, *, days_old: float = 0) -> Path:
    path = folder / "keyring.yaml"
    rotate(path, datetime.now(UTC) - timedelta(days=days_old))
    return path


def vault(folder: Path, keyring: Path | None = None, integration: str = "shop") -> Vault:
    """A new one of the same folder is another process."""
    path = keyring or folder / "keyring.yaml"
    if not path.exists():
        keyring_file(path.parent)
    return Vault(Keyring(path), Objects(str(folder / "blobs")), integration)
