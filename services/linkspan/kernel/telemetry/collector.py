"""How spans are sent to a collector: as everything else, by TLS 1.3 and to whom ``LINKSPAN_CA`` vouches for."""

from __future__ import annotations

import os
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from linkspan.kernel.tls.trusted import client_context


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        environ = {**os.environ}
        if own := environ.get("OTEL_EXPORTER_OTLP_CERTIFICATE"):
            environ["LINKSPAN_CA"] = own
        super().init_poolmanager(*arguments, ssl_context=client_context(environ), **named)


def session() -> requests.Session:
    made = requests.Session()
    made.mount("https://", _Adapter())
    return made
