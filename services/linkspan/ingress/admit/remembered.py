"""The keys that a replica knew last, for a start while Kafka is away: messages are spooled, and not from anybody."""

from __future__ import annotations

from pathlib import Path

import msgspec
import structlog

from linkspan.control.keys import Issued, Keys
from linkspan.kernel.disk import write_synced

log = structlog.get_logger()

_written = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(list[Issued]).decode


class RememberedKeys:
    """``path``: of a file with hashes, names and scopes; what cannot be read is as nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def keys(self) -> Keys | None:
        """None where none were ever known here."""
        try:
            issued = _read(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("the keys known last cannot be read", file=str(self._path), reason=str(error))
            return None
        found = Keys()
        found.by_id = {one.key.id: one for one in issued}
        return found

    def keep(self, keys: Keys) -> None:
        try:
            write_synced(self._path, _written(list(keys.by_id.values())), 0o600)
        except OSError as error:
            log.warning("the keys cannot be kept for a start without Kafka", file=str(self._path), reason=str(error))
