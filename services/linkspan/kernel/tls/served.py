"""The certificates that a process shows to whoever connects to it."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from linkspan.kernel.errors import UserMistake
from linkspan.kernel.telemetry.metrics import CERTIFICATE_EXPIRES
from linkspan.kernel.tls.renewed import LOWEST, Renewed, no_password


class Served:
    """A certificate and its key, PEM, for what listens as ``use``. Raises UserMistake where they cannot be used."""

    def __init__(self, use: str, cert: Path, key: Path) -> None:
        self.use, self.cert, self.key, self._end = use, cert, key, 0.0
        self.context = Renewed(ssl.PROTOCOL_TLS_SERVER, [cert, key], self._make)
        CERTIFICATE_EXPIRES.labels(use).set_function(lambda: self.expires)
        _served[use] = self

    @property
    def expires(self) -> float:
        """When the first certificate of the chain ends, seconds since 1970. A file that changed is looked at, so that
        whoever asks learns of it before the next connection comes."""
        self.context.current  # noqa: B018 - reads what changed
        return self._end

    def check(self) -> None:
        """Raises OSError where the files do not fit together now."""
        self._make()

    def _make(self) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = LOWEST
        made.load_cert_chain(self.cert, self.key, no_password)
        self._end = first_end(self.cert.read_bytes())
        return made


#: By use, of this process.
_served: dict[str, Served] = {}


def served() -> Iterator[tuple[str, float]]:
    """Use and end (seconds since 1970) of each certificate that this process shows."""
    for use, one in sorted(_served.items()):
        yield use, one.expires


def first_end(pem: bytes) -> float:
    """Of the chain, seconds since 1970. Raises UserMistake for what is none."""
    try:
        chain = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise UserMistake(f"it is no certificate in PEM: {error}") from error
    return min(one.not_valid_after_utc for one in chain).timestamp()


def days_left(expires: float) -> float:
    return (expires - time.time()) / 86_400
