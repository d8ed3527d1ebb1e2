"""Does every address show a certificate that is believed, of TLS 1.3, and not about to end?"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

from linkspan.cli.preflight.finding import Finding
from linkspan.cli.preflight.target import RENEW_DAYS, Target
from linkspan.kernel.tls.trusted import client_context

_PORTS = {"https": 443, "wss": 443, "http": 80, "ws": 80, "postgresql": 5432}
_ENCRYPTED = ("https", "wss", "kafka+ssl", "grpc")
#: "I would like TLS" of PostgreSQL's protocol: the length, and its number for that.
_POSTGRES_ASKS = (8).to_bytes(4, "big") + (80_877_103).to_bytes(4, "big")
_SECONDS = 8.0


async def certificates(target: Target) -> AsyncIterator[Finding]:
    for made in await asyncio.gather(*(_look(what, url) for what, url in addresses(target))):
        yield made


def addresses(target: Target) -> Iterator[tuple[str, str]]:
    """What it is, and scheme://host:port."""
    if target.url:
        yield "ingress", target.url
    for one in target.session.connection.addresses:
        yield "control API", f"grpc://{one}" if target.session.connection.tls else f"http://{one}"
    scheme = "kafka+ssl" if target.settings.message_queue_url.startswith("kafka+ssl") else "kafka"
    for server in target.settings.kafka.split(","):
        yield "Kafka", f"{scheme}://{server}"
    database = target.settings.linkspan_database_url
    if database is not None and database.get_secret_value().startswith("postgresql"):
        parts = urlsplit(database.get_secret_value())
        yield "PostgreSQL", f"postgresql://{parts.hostname}:{parts.port or 5432}"
    for name, system in target.integration.systems.items() if target.integration else ():
        yield f"system {name}", system.url
        if system.auth and system.auth.oauth2 and "://" in system.auth.oauth2.token_url:
            yield f"token of {name}", system.auth.oauth2.token_url


async def _look(what: str, url: str) -> Finding:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 443)
    about = f"{what} {host}:{port}"
    if parts.scheme not in (*_ENCRYPTED, "postgresql"):
        return Finding(about, "is plain text", "give it a certificate (docs/security.md)")
    try:
        async with asyncio.timeout(_SECONDS):
            ends = await _ends(host, port, postgres=parts.scheme == "postgresql")
    except (OSError, TimeoutError, ssl.SSLError) as error:
        return Finding(about, _said(error), "see docs/security.md; LINKSPAN_CA names whom we believe")
    days = (ends - time.time()) / 86_400
    if days < RENEW_DAYS:
        return Finding(about, f"its certificate ends in {days:.0f} days", "renew it now")
    return Finding(about, said=f"TLS 1.3, {days:.0f} days left")


def _said(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not believed: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS 1.3 is spoken there: {error.reason or error}"
    return f"no answer: {error or type(error).__name__}"


async def _ends(host: str, port: int, *, postgres: bool) -> float:
    """When the certificate ends, seconds since 1970. Raises OSError, ssl.SSLError."""
    context = client_context()
    if not postgres:
        _, writer = await asyncio.open_connection(host, port, ssl=context)
    else:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(_POSTGRES_ASKS)
        if await reader.read(1) != b"S":
            writer.close()
            raise OSError("it speaks no TLS")
        await writer.start_tls(context, server_hostname=host)
    try:
        shown = writer.get_extra_info("peercert")
        return float(ssl.cert_time_to_seconds(shown["notAfter"]))
    finally:
        writer.close()
