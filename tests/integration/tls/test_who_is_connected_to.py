"""Nothing is said to a peer whose certificate is not that of the host, by nobody that we believe, or no more valid."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiokafka.errors import KafkaError
from sqlalchemy import text
from tests.authority import Authority
from tests.database_fixture import Postgres
from tests.integration.tls.peers import GOOD, Peer, PostgresPeer, context_of, serving
from websockets.exceptions import WebSocketException

from linkspan.cli.control.connection import Connection, Files
from linkspan.cli.control.session import Session
from linkspan.cli.ended import CommandEnded
from linkspan.cli.trace.jaeger import Jaeger
from linkspan.control.auth.jwks import KeyAddress
from linkspan.egress.deliver.leased import LeasedConnector
from linkspan.egress.deliver.socket import open_socket
from linkspan.ingress.accept.websocket import Source
from linkspan.kernel.errors import LinkspanError, UserMistake
from linkspan.kernel.http.client import RestReader
from linkspan.kernel.http.oauth2 import TokenSource
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.kafka.security import Security
from linkspan.kernel.spec import OAuth2, System
from linkspan.kernel.telemetry.collector import session
from linkspan.readmodel.away import DatabaseAway
from linkspan.readmodel.database import open_database

WRONG = ["of another authority", "ended", "of another host", "TLS 1.2 alone"]


def system(kind: str, url: str) -> System:
    return System.model_validate({"kind": kind, "url": url, "timeout": 10})


async def by_rest(peer: str, _ca: Path) -> None:
    reader = RestReader(system("rest", f"https://{peer}"))
    try:
        await reader.get("/", 100)
    finally:
        await reader.close()


async def by_delivery(peer: str, _ca: Path) -> None:
    async with aiohttp.ClientSession(connector=LeasedConnector()) as made, made.get(f"https://{peer}/") as answer:
        await answer.read()


async def by_token(peer: str, _ca: Path) -> None:
    grant = OAuth2.model_validate({"token_url": "/token", "client_id": "a", "client_secret": "a-secret"})
    async with aiohttp.ClientSession(connector=LeasedConnector()) as made:
        await TokenSource(made, grant, f"https://{peer}").token()


async def by_queue(peer: str, _ca: Path) -> None:
    await open_socket(system("websocket", f"wss://{peer}"), f"wss://{peer}/v1/queue")


async def by_source(peer: str, _ca: Path) -> None:
    nothing: Any = None
    source = Source("a", system("websocket", f"wss://{peer}"), nothing, nothing, 100, asyncio.Event())
    await source._hold_connection()


async def by_kafka(peer: str, _ca: Path) -> None:
    admin = KafkaClients(peer, Security(tls=True)).admin()
    try:
        await admin.start()
    finally:
        await admin.close()


async def by_keys(peer: str, _ca: Path) -> None:
    await KeyAddress(f"https://{peer}/keys").keys()


async def by_collector(peer: str, _ca: Path) -> None:
    await asyncio.to_thread(session().post, f"https://{peer}/v1/traces", data=b"", timeout=10)


async def by_jaeger(peer: str, _ca: Path) -> None:
    async with Jaeger(f"https://{peer}") as jaeger:
        await jaeger.trace("0" * 32)


async def by_control(peer: str, ca: Path) -> None:
    await asyncio.to_thread(lambda: Session(Connection((peer,), None, Files(ca, None, None))).api)


Connect = Callable[[str, Path], Awaitable[None]]
WAYS: list[Connect] = [
    by_rest,
    by_delivery,
    by_token,
    by_queue,
    by_source,
    by_kafka,
    by_keys,
    by_collector,
    by_jaeger,
    by_control,
]
ENDS = (LinkspanError, CommandEnded, EOFError, KafkaError, OSError, aiohttp.ClientError, WebSocketException)


@pytest.mark.parametrize("what", [GOOD, *WRONG])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_a_peer_is_met_only_where_it_is_who_it_should_be(
    way: Connect, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("LINKSPAN_CA", str(authority.ca))
    async with serving(Peer(), context_of(tmp_path, authority, what)) as peer:
        with pytest.raises(ENDS):  # it ends the connection as soon as it is met
            await way(peer.url, authority.ca)
        assert bool(peer.met) is (what == GOOD)


async def query(url: str) -> int:
    database = open_database(url)
    try:
        return int(await database.read(lambda connection: connection.scalar(text("SELECT 41 + 1"))) or 0)
    finally:
        database.close()


@pytest.mark.parametrize("what", [GOOD, *WRONG])
async def test_postgresql_is_asked_only_where_it_is_who_it_should_be(
    what: str, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("LINKSPAN_CA", str(authority.ca))
    monkeypatch.delenv("LINKSPAN_PLAIN_TEXT")
    socket, context = postgres.folder / "data" / ".s.PGSQL.5432", context_of(tmp_path, authority, what)
    name = postgres.url().split("?")[0].rsplit("/", 1)[1]
    async with serving(PostgresPeer(context, str(socket)), None) as peer:
        url = f"postgresql://postgres:marked-password@{peer.url}/{name}"
        if what == GOOD:
            assert await query(url) == 42
        else:
            with pytest.raises(DatabaseAway) as raised:
                await query(url)
            assert "marked" not in str(raised.value)
        assert bool(peer.met) is (what == GOOD)
        with pytest.raises(UserMistake, match=r"sslmode=require.*LINKSPAN_PLAIN_TEXT"):
            await query(f"{url}?sslmode=require")
