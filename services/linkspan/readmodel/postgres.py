"""Connections to PostgreSQL: encrypted, to the right server, and with the password that is in force."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event

from linkspan.kernel.config import Settings, read_settings
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.tls.plain import ALLOWED_BY
from linkspan.kernel.tls.trusted import client_files

_OPTIONS = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "application_name": "linkspan",
    "ssl_min_protocol_version": "TLSv1.3",
}
_STRICT = "verify-full"


def postgres(url: URL, read: Callable[[], URL]) -> Engine:
    """Raises UserMistake where nothing would encrypt it and plain text is not allowed."""
    engine = create_engine(url, connect_args=_OPTIONS | _encryption(url), pool_pre_ping=True)

    @event.listens_for(engine, "do_connect")
    def connecting(_dialect: Any, _record: Any, _arguments: Any, options: dict[str, Any]) -> None:
        now = read()
        options |= {name: said for name, said in (("user", now.username), ("password", now.password)) if said}

    return engine


def _encryption(url: URL) -> dict[str, str]:
    """What libpq is told beside what the address says. A socket of this machine needs nothing."""
    mode, settings = url.query.get("sslmode"), _settings()
    if _is_local_socket(url) or (mode != _STRICT and settings.plain_text):
        return {}
    if mode not in (None, _STRICT):
        raise UserMistake(
            f"LINKSPAN_DATABASE_URL has sslmode={mode}, which is plain text or lets anybody answer; leave it out, or "
            f"say {_STRICT}; for development set {ALLOWED_BY}"
        )
    ca, cert, key = client_files(os.environ)
    made = {"sslmode": _STRICT, "sslrootcert": str(ca or "system")}
    if cert is not None and key is not None:
        made |= {"sslcert": str(cert), "sslkey": str(key)}
    return {name: said for name, said in made.items() if name not in url.query}


def _settings() -> Settings:
    return read_settings()


def _is_local_socket(url: URL) -> bool:
    hosts = url.query.get("host") or url.host or ""
    return all(host.startswith("/") for host in ([hosts] if isinstance(hosts, str) else hosts))
