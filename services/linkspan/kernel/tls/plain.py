"""Plain text: where it would be spoken, and whether it may be."""

from __future__ import annotations

import os
from collections.abc import Iterable
from urllib.parse import urlsplit

import structlog

from linkspan.kernel.config import Mode, Settings
from linkspan.kernel.errors import Fault, UserMistake
from linkspan.kernel.spec import Integration
from linkspan.kernel.tls.served import Served
from linkspan.kernel.tls.trusted import client_context

log = structlog.get_logger()

ALLOWED_BY = "LINKSPAN_PLAIN_TEXT=development"
_OPEN = ("http", "ws", "kafka")
_ENCRYPTED = {"http": "https", "ws": "wss", "kafka": "kafka+ssl"}


def plain_text(integration: Integration) -> Iterable[Fault]:
    """Addresses of an integration that nothing encrypts."""
    for name, system in integration.systems.items():
        oauth2 = system.auth.oauth2 if system.auth else None
        for field, url in (("url", system.url), ("auth.oauth2.token_url", oauth2.token_url if oauth2 else "")):
            scheme = urlsplit(url).scheme
            if scheme in _OPEN:
                error = f"{scheme}:// is plain text, refused in production; use {scheme}s://"
                yield Fault(f"systems.{name}.{field}", error)


def check_production(settings: Settings, integration: Integration) -> None:
    """In production every connection is encrypted; raises UserMistake, a line for each that is not."""
    if settings.integration_mode is not Mode.PRODUCTION:
        return
    wrong = [f"{fault.field}: {fault.error}" for fault in plain_text(integration)]
    if not settings.message_queue_url.startswith("kafka+ssl://"):
        wrong.append("MESSAGE_QUEUE_URL: kafka:// is plain text, refused in production; use kafka+ssl://host:port,…")
    if wrong:
        raise UserMistake("\n".join(wrong))


def check_encrypted(settings: Settings, integration: Integration) -> None:
    """Every connection of a process is encrypted unless plain text is allowed. Raises UserMistake, one line, also where
    a certificate for connecting cannot be used."""
    check_production(settings, integration)
    client_context()
    systems = {fault.field: fault.error.partition(" ")[0] for fault in plain_text(integration)}
    addresses = {
        "MESSAGE_QUEUE_URL": settings.message_queue_url,
        "OTEL_EXPORTER_OTLP_ENDPOINT": os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
    }
    check_addresses(settings, addresses | {field: f"{scheme}" for field, scheme in systems.items()})


def check_addresses(settings: Settings, addresses: dict[str, str]) -> None:
    """``addresses`` by the variable or field that gives each. Raises UserMistake, one line."""
    if settings.plain_text:
        return
    schemes = {name: urlsplit(url).scheme for name, url in addresses.items()}
    wrong = [f"{name} is {one}:// (use {_ENCRYPTED[one]}://)" for name, one in schemes.items() if one in _OPEN]
    if wrong:
        raise UserMistake(f"plain text is refused: {', '.join(wrong)}; for development set {ALLOWED_BY}")


def listening(settings: Settings) -> Served | None:
    """What this process shows to who connects over HTTP; None: plain text, which is said in the log. Raises
    UserMistake."""
    cert, key = settings.linkspan_tls_cert, settings.linkspan_tls_key
    if (cert is None) != (key is None):
        raise UserMistake("LINKSPAN_TLS_CERT and LINKSPAN_TLS_KEY go together; one is missing")
    if settings.plain_text:
        log.warning("plain text is allowed: whoever is on the way reads everything", by=ALLOWED_BY)
    if cert is not None and key is not None:
        return Served("http", cert, key)
    if not settings.plain_text:
        raise UserMistake(
            "plain text is refused: set LINKSPAN_TLS_CERT and LINKSPAN_TLS_KEY (PEM) to be listened to by TLS; "
            f"for development set {ALLOWED_BY}"
        )
    return None
