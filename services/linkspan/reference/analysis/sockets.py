"""The two WebSocket paths: ``/v1/queue`` takes submit frames, ``/v1/events`` gives events."""

from __future__ import annotations

import asyncio
import hmac
import json
from contextlib import suppress

import structlog
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from linkspan.reference.analysis.intake import Intake
from linkspan.reference.analysis.publish import Publisher
from linkspan.reference.analysis.submission import Verdict
from linkspan.reference.problems import Problem

log = structlog.get_logger()
router = APIRouter()

SUBPROTOCOL = "linkspan.analysis.v1"
#: Frames of one connection that may wait for their answer; the next is read when one was answered.
IN_FLIGHT = 1024


@router.websocket("/v1/queue")
async def queue(websocket: WebSocket) -> None:
    if not await _admitted(websocket):
        return
    intake: Intake = websocket.app.state.intake
    answers: asyncio.Queue[asyncio.Future[Verdict]] = asyncio.Queue(IN_FLIGHT)
    sender = asyncio.create_task(_answer_in_order(websocket, answers))
    try:
        while not sender.done():
            await answers.put(intake.submit(await _text(websocket)))
    except WebSocketDisconnect:
        pass
    finally:
        sender.cancel()
        with suppress(asyncio.CancelledError):
            await sender


async def _answer_in_order(websocket: WebSocket, answers: asyncio.Queue[asyncio.Future[Verdict]]) -> None:
    try:
        while True:
            # a client that goes away cancels this, but not the storing, of which the worker has to hear
            verdict = await asyncio.shield(await answers.get())
            await websocket.send_text(json.dumps(verdict.frame))
    except (WebSocketDisconnect, RuntimeError):
        return  # the client is gone; what it got no answer for it sends again
    except Exception:
        log.exception("the queue cannot be written")
        with suppress(RuntimeError):
            await websocket.close(1011, "the queue cannot be written")


@router.websocket("/v1/events")
async def events(websocket: WebSocket) -> None:
    if not await _admitted(websocket):
        return
    publisher: Publisher = websocket.app.state.publisher
    send = websocket.send_text
    publisher.connected(send)
    try:
        while True:
            publisher.answered(await _text(websocket))
    except WebSocketDisconnect:
        pass
    finally:
        publisher.disconnected(send)


async def _admitted(websocket: WebSocket) -> bool:
    problem = _objection(websocket)
    if problem is None:
        await websocket.accept(SUBPROTOCOL)
        return True
    await websocket.send_denial_response(problem.response())
    return False


def _objection(websocket: WebSocket) -> Problem | None:
    wanted: str = websocket.app.state.api_key
    if not hmac.compare_digest(websocket.headers.get("x-api-key", "").encode(), wanted.encode()):
        return Problem(401, "unauthorised", "The X-API-Key of the handshake is missing or wrong.")
    if SUBPROTOCOL not in websocket.scope.get("subprotocols", []):
        return Problem(400, "subprotocol", f"Offer the subprotocol {SUBPROTOCOL}.")
    return None


async def _text(websocket: WebSocket) -> str:
    """The next frame's text; a binary one is read as text too, so that it gets an answer."""
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1006))
    text = message.get("text")
    return text if isinstance(text, str) else (message.get("bytes") or b"").decode("utf-8", "replace")
