"""What somebody gets who should get nothing."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import grpc

from linkspan.cli.preflight.finding import Finding
from linkspan.cli.preflight.target import Target
from linkspan.kernel.tls.trusted import client_context

_SECONDS = aiohttp.ClientTimeout(total=8)
_REPORT_DAYS = 31
#: What a sender has no business with.
_INNER = ("/metrics",)


async def scan(target: Target) -> AsyncIterator[Finding]:
    if target.url is None:
        yield Finding("--url", "no address of ingress is given", "say where senders reach it")
    else:
        async for found in _ingress(target.url):
            yield found
    for address in target.session.connection.addresses:
        yield await asyncio.to_thread(_control, target, address)
    for host, port in _listeners(target):
        yield await _old_tls(host, port)
    yield _report(target.scan_report)


async def _ingress(url: str) -> AsyncIterator[Finding]:
    connector = aiohttp.TCPConnector(ssl=client_context())
    async with aiohttp.ClientSession(connector=connector, timeout=_SECONDS) as session:
        try:
            async with session.post(f"{url}/v1/messages", json={}) as answer:
                status, headers = answer.status, answer.headers
            inner = [path for path in _INNER if await _status(session, url + path) < 400]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            yield Finding(url, f"no answer: {error or type(error).__name__}", "see that ingress runs and is reachable")
            return
    if status != 401:
        mend = "LINKSPAN_INTAKE=identified; issue keys (linkspan keys issue), or set LINKSPAN_INTAKE_JWKS"
        yield Finding(f"{url}/v1/messages", f"answers {status} to who shows nothing, not 401", mend)
    for path in inner:
        yield Finding(url + path, "is open to senders", "let the balancer pass /v1 and /health alone")
    if any(letter.isdigit() for letter in headers.get("server", "")):
        yield Finding(url, f"tells its version: {headers['server']}", "take the server header away")
    if "x-request-id" not in headers:
        yield Finding(url, "answers without X-Request-ID", "see what is between: it takes the header away")
    if status == 401 and not inner:
        yield Finding(url, said="refuses who shows nothing")


async def _status(session: aiohttp.ClientSession, url: str) -> int:
    async with session.get(url, allow_redirects=False) as answer:
        return answer.status


def _control(target: Target, address: str) -> Finding:
    """With the channel of the operator, but no token."""
    from linkspan.cli.control.session import Session
    from linkspan.control.v1.status_pb2 import GetStatusRequest

    session = Session(replace(target.session.connection, addresses=(address,), token=None))
    try:
        session.api.GetStatus(GetStatusRequest(), timeout=8)
    except grpc.RpcError as error:
        if error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE):
            return Finding(f"control API {address}", said="refuses who shows nothing")
        return Finding(f"control API {address}", f"answers {error.code().name} to who shows nothing", "look at its log")
    finally:
        session.close()
    return Finding(f"control API {address}", "tells its status to who shows nothing", "see docs/control.md")


def _listeners(target: Target) -> list[tuple[str, int]]:
    urls = [target.url] if target.url else []
    found = [urlsplit(url) for url in urls] + [urlsplit(f"//{one}") for one in target.session.connection.addresses]
    return [(one.hostname or "", one.port or 443) for one in found]


async def _old_tls(host: str, port: int) -> Finding:
    about = f"{host}:{port}"
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        async with asyncio.timeout(8):
            _, writer = await asyncio.open_connection(host, port, ssl=old)
    except (ssl.SSLError, ConnectionError):
        return Finding(about, said="refuses TLS 1.2")
    except (OSError, TimeoutError) as error:
        return Finding(about, f"no answer: {error or type(error).__name__}", "see that it runs and is reachable")
    writer.close()
    return Finding(about, "speaks TLS 1.2", "TLS ends there, and not in Linkspan: set its lowest version to 1.3")


def _report(path: Path | None) -> Finding:
    """``path``: what ``pip-audit --format json`` wrote about the image."""
    if path is None:
        return Finding("--scan-report", "no report is named", "make audit writes one; name it with --scan-report")
    try:
        age = (time.time() - path.stat().st_mtime) / 86_400
        found = vulnerable(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Finding(
            str(path), f"is no report of pip-audit: {error or type(error).__name__}", "make audit writes one"
        )
    if found:
        return Finding(str(path), f"names {len(found)} packages: {', '.join(found[:5])}", "bring them up to date")
    if age > _REPORT_DAYS:
        return Finding(str(path), f"is {age:.0f} days old", "make audit writes a new one")
    return Finding(str(path), said="no known vulnerability")


def vulnerable(report: Any) -> list[str]:
    """Packages with known faults. Raises KeyError, TypeError where it is no report."""
    return [f"{one['name']} {one['version']}" for one in report["dependencies"] if one.get("vulns")]
