"""How a process connects: whom it believes, and as whom it comes."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from linkspan.kernel.errors import UserMistake
from linkspan.kernel.tls.renewed import LOWEST, Renewed, no_password


class _Told(ssl.SSLObject):
    """Tells when the certificate ends that the other side showed."""

    def do_handshake(self) -> None:
        from linkspan.kernel.telemetry.metrics import PEER_CERTIFICATE_EXPIRES

        super().do_handshake()
        ends: Any = (self.getpeercert() or {}).get("notAfter")
        if ends and self.server_hostname:
            PEER_CERTIFICATE_EXPIRES.labels(self.server_hostname).set(ssl.cert_time_to_seconds(ends))


def client_context(environ: Mapping[str, str] = os.environ) -> Renewed:
    """One for all connections of the process: ``LINKSPAN_CA`` (else the system's authorities) is believed, names are
    compared, and ``LINKSPAN_CLIENT_CERT`` is shown to who asks. Raises UserMistake."""
    return _context(*client_files(environ))


def client_files(environ: Mapping[str, str] = os.environ) -> tuple[Path | None, Path | None, Path | None]:
    """Authorities, certificate and key; PEM. Raises UserMistake."""
    ca, cert, key = (environ.get(f"LINKSPAN_{name}") or None for name in ("CA", "CLIENT_CERT", "CLIENT_KEY"))
    if (cert is None) != (key is None):
        raise UserMistake("LINKSPAN_CLIENT_CERT and LINKSPAN_CLIENT_KEY go together; one is missing")
    return Path(ca) if ca else None, Path(cert) if cert else None, Path(key) if key else None


@lru_cache(maxsize=8)
def _context(ca: Path | None, cert: Path | None, key: Path | None) -> Renewed:
    def make() -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=ca)
        made.minimum_version = LOWEST
        made.sslobject_class = _Told
        if cert is not None:
            made.load_cert_chain(cert, key, no_password)
        return made

    return Renewed(ssl.PROTOCOL_TLS_CLIENT, [one for one in (ca, cert, key) if one is not None], make)
