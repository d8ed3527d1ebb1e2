"""The certificate of the control API, and whose certificates it takes."""

from __future__ import annotations

from pathlib import Path

import grpc

from linkspan.control.settings import ControlSettings
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.tls.plain import ALLOWED_BY
from linkspan.kernel.tls.served import Served
from linkspan.kernel.watched import WatchedFiles


def control_certificate(settings: ControlSettings) -> Served | None:
    """Its own, else that of HTTP; None: in the clear, which is allowed. Raises UserMistake."""
    cert, key = settings.linkspan_control_cert, settings.linkspan_control_key
    if (cert is None) != (key is None):
        raise UserMistake("LINKSPAN_CONTROL_CERT and LINKSPAN_CONTROL_KEY go together; one is missing")
    cert, key = cert or settings.linkspan_tls_cert, key or settings.linkspan_tls_key
    if cert is not None and key is not None:
        return Served("control", cert, key)
    if settings.linkspan_control_client_ca is not None:
        raise UserMistake("LINKSPAN_CONTROL_CLIENT_CA needs LINKSPAN_CONTROL_CERT and LINKSPAN_CONTROL_KEY")
    if not settings.plain_text:
        raise UserMistake(
            "plain text is refused: set LINKSPAN_TLS_CERT and LINKSPAN_TLS_KEY, or LINKSPAN_CONTROL_CERT and "
            f"LINKSPAN_CONTROL_KEY, for the control API; for development set {ALLOWED_BY}"
        )
    return None


def credentials(shown: Served, settings: ControlSettings) -> grpc.ServerCredentials:
    """gRPC asks at each handshake whether they are others now. Raises UserMistake."""
    authority = settings.linkspan_control_client_ca
    files = [shown.cert, shown.key, *([authority] if authority else [])]

    def read() -> grpc.ServerCertificateConfiguration:
        shown.check()
        trusted = None if authority is None else _read("LINKSPAN_CONTROL_CLIENT_CA", authority)
        return grpc.ssl_server_certificate_configuration([(shown.key.read_bytes(), shown.cert.read_bytes())], trusted)

    watched = WatchedFiles(files, read)
    known = [watched.content]

    def changed() -> grpc.ServerCertificateConfiguration | None:
        now = watched.content
        if now is known[0]:
            return None
        known[0] = now
        return now

    asks = authority is not None
    return grpc.dynamic_ssl_server_credentials(known[0], changed, asks)  # type: ignore[arg-type]


def _read(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserMistake(f"{name}: {path} cannot be read: {error.strerror}") from error
