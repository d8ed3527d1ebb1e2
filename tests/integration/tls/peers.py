"""Peers that are not who they should be, and one that is; and each way in which Linkspan connects to one."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.authority import Authority

GOOD = "as it should be"


def context_of(folder: Path, authority: Authority, what: str) -> ssl.SSLContext:
    """``what``: GOOD, or what is wrong with it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    match what:
        case "of another authority":
            (folder / "other").mkdir()
            issued = Authority(folder / "other").issue("peer")
        case "ended":
            issued = authority.issue("peer", days=-1)
        case "of another host":
            issued = authority.issue("peer", host="elsewhere.test")
        case _:
            issued = authority.issue("peer")
    context.load_cert_chain(*issued)
    context.set_alpn_protocols(["http/1.1", "h2"])
    if what == "TLS 1.2 alone":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


class Peer:
    """``met``: clients that took its certificate, and said something; ``url`` without a scheme."""

    def __init__(self) -> None:
        self.met = 0
        self.url = ""

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            self.met += bool(await reader.read(1))
        writer.close()


class PostgresPeer(Peer):
    """Speaks PostgreSQL's prelude to TLS, then hands over to the server at ``socket``, or ends."""

    def __init__(self, context: ssl.SSLContext, socket: str | None = None) -> None:
        super().__init__()
        self._context, self._socket = context, socket

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            assert await reader.readexactly(8) == b"\0\0\0\x08\x04\xd2\x16\x2f"
            writer.write(b"S")
            await writer.start_tls(self._context)
            said = await reader.read(65_536)
            if not said:  # a client that looks at the name in the certificate once TLS stands
                return
            self.met += 1
            if self._socket:
                inner, out = await asyncio.open_unix_connection(self._socket)
                out.write(said)
                await asyncio.wait({asyncio.create_task(_pipe(reader, out)), asyncio.create_task(_pipe(inner, writer))})
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def serving(peer: Peer, context: ssl.SSLContext | None) -> AsyncIterator[Peer]:
    server = await asyncio.start_server(peer._meet, "127.0.0.1", 0, ssl=context)
    peer.url = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield peer
