"""A WebSocket connection without a coroutine a frame: picows underneath, frames come by callback and go at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import picows
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from linkspan.kernel.errors import LinkspanError
from linkspan.kernel.http.credentials import api_key_headers
from linkspan.kernel.secret import redacted
from linkspan.kernel.spec import System
from linkspan.kernel.tls.trusted import client_context

#: Bytes of one answer.
_LONGEST = 1024 * 1024
#: Fragments of one answer, also empty ones.
_MOST_PARTS = 4_096
#: Seconds that the other side has for its part of a closing handshake.
_CLOSING = 1.0
_DATA = (WSMsgType.TEXT, WSMsgType.BINARY)


class NotConnected(LinkspanError):
    """Why there is no connection; ``status``: what the other side answered instead of taking it, else None."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


class Socket(WSListener):
    """``received``: is called with each message once ``use`` runs; those before wait in order."""

    def __init__(self) -> None:
        self.writable = asyncio.Event()
        self.writable.set()
        self.received: Callable[[bytes], None] | None = None
        self.ending = "1006"
        self._early: list[bytes] = []
        self._parts: list[bytes] = []
        self._length = 0
        self._transport: WSTransport

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if frame.payload_size > _LONGEST:  # picows refuses it, and may give it all the same before it has disconnected
            self.abort()
        elif kind in _DATA or kind == WSMsgType.CONTINUATION:
            self._data(frame)
        elif kind == WSMsgType.CLOSE:
            code: Any = frame.get_close_code()
            self.ending = f"{int(code)} {frame.get_close_reason() or ''}".rstrip()
            transport.disconnect()

    def _data(self, frame: WSFrame) -> None:
        if (frame.msg_type == WSMsgType.CONTINUATION) != bool(self._parts):  # of nothing, or amid another one's
            self.abort()
        elif frame.fin and not self._parts:
            self._message(frame.get_payload_as_bytes())
        else:
            self._part(frame)

    def _part(self, frame: WSFrame) -> None:
        self._parts.append(frame.get_payload_as_bytes())
        self._length += frame.payload_size
        if self._length > _LONGEST or len(self._parts) > _MOST_PARTS:
            self.abort()
        elif frame.fin:
            whole, self._parts, self._length = b"".join(self._parts), [], 0
            self._message(whole)

    def _message(self, message: bytes) -> None:
        if self.received is None:
            self._early.append(message)
        else:
            self.received(message)

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def send(self, frame: bytes) -> None:
        """As text; dropped where the connection has ended, which ``use`` tells."""
        self._transport.send(WSMsgType.TEXT, frame)

    async def use(self, received: Callable[[bytes], None]) -> None:
        """Until the connection has ended; ``ending`` says how."""
        early, self._early = self._early, []
        try:
            for message in early:
                received(message)
            self.received = received
            await self._transport.wait_disconnected()
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
        except Exception as error:  # noqa: BLE001 - the protocol's, or of a callback: picows raises it here
            self.ending = f"{type(error).__name__}: {error}"
            self.abort()

    def abort(self) -> None:
        self._transport.disconnect(graceful=False)

    async def close(self) -> None:
        try:
            self._transport.send_close()
            async with asyncio.timeout(_CLOSING):
                await self._transport.wait_disconnected()
        except Exception:  # noqa: BLE001 - it has ended, or is ended now
            self.abort()


async def open_socket(system: System, url: str) -> Socket:
    """Raises NotConnected, within the system's ``timeout``."""
    headers = api_key_headers(system)
    if system.subprotocol:
        headers["Sec-WebSocket-Protocol"] = system.subprotocol
    try:
        async with asyncio.timeout(system.timeout):
            transport, made = await picows.ws_connect(
                Socket,
                url,
                ssl_context=client_context() if url.startswith("wss:") else None,
                websocket_handshake_timeout=system.timeout,
                enable_auto_ping=True,
                auto_ping_idle_timeout=system.heartbeat,
                auto_ping_reply_timeout=system.heartbeat,
                max_frame_size=_LONGEST,
                extra_headers=headers,
                max_redirects=0,
                use_aiofastnet=False,  # the event loop's own transport sends what one turn has written in one call
            )
    except picows.WSInvalidStatusError as error:
        raise NotConnected(redacted(str(error)), int(error.response.status) if error.response else None) from error
    except asyncio.CancelledError as error:  # also what picows gives when the handshake is cut off
        if _is_cancelled():
            raise
        raise NotConnected("the connection broke in its handshake") from error
    except Exception as error:
        raise NotConnected(redacted(str(error)) or type(error).__name__) from error
    _check_subprotocol(transport, system.subprotocol)
    assert isinstance(made, Socket)  # noqa: S101 - the class was given
    return made


def _is_cancelled() -> bool:
    """Somebody cancelled this task, not only something that it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _check_subprotocol(transport: Any, wanted: str | None) -> None:
    if transport.response is None:  # picows raises nothing where the handshake is cut off
        transport.disconnect(graceful=False)
        raise NotConnected("the connection broke in its handshake")
    chosen = transport.response.headers.get("Sec-WebSocket-Protocol")
    if chosen is not None and chosen != wanted:
        transport.disconnect(graceful=False)
        raise NotConnected(f"it chose the subprotocol {chosen!r}, which was not offered")
