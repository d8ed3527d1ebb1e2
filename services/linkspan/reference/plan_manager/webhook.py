"""The webhook: every upload is told to Linkspan's ingress until it answers, in order per plan."""

from __future__ import annotations

import asyncio
import json
import random
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import structlog
import uuid_utils
from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Gauge

from linkspan.kernel.telemetry import attributes as of
from linkspan.kernel.telemetry.logs import trace_id
from linkspan.kernel.telemetry.traces import Traced, Tracing
from linkspan.kernel.tls.trusted import client_context
from linkspan.reference.plan_manager import uploads
from linkspan.reference.store import Store

log = structlog.get_logger()

SENT = Counter("plan_manager_webhook_total", "Answers to the webhook.", ["result"])
PENDING = Gauge("plan_manager_webhook_pending", "Uploads that ingress has not answered.")

#: Answers that are about us or about now, not about the message: asked again.
AGAIN = frozenset({401, 403, 408, 425, 429})
FIRST_WAIT, LONGEST_WAIT = 0.5, 15.0
CONCURRENCY = 16


class Webhook:
    """Sends what is pending; plans go side by side (``CONCURRENCY``), the uploads of one plan one after the other.

    ``credential`` gives the header that says who sends, empty where nobody asks.
    """

    def __init__(
        self, store: Store, ingress_url: str, tracing: Tracing, credential: Callable[[], Mapping[str, str]]
    ) -> None:
        self._store, self._credential = store, credential
        self._url = ingress_url.rstrip("/") + "/v1/messages"
        self._tracing = tracing
        self._facts = {of.STEP: "webhook", of.METHOD: "POST", of.URL: self._url, **of.server_facts(self._url)}
        self._lanes: dict[str, deque[int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Semaphore(CONCURRENCY)
        self._session: aiohttp.ClientSession | None = None
        self.trouble: str | None = None

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=30), connector=aiohttp.TCPConnector(ssl=client_context())
        )
        for plan_id, change in await self._store.read(uploads.pending):
            self.add(plan_id, change)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session:
            await self._session.close()

    def add(self, plan_id: str, change: int) -> None:
        PENDING.inc()
        lane = self._lanes.get(plan_id)
        if lane is not None:
            lane.append(change)
            return
        self._lanes[plan_id] = deque([change])
        task = asyncio.create_task(self._drain(plan_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drain(self, plan_id: str) -> None:
        lane = self._lanes[plan_id]
        while lane:
            await self._send_until_answered(lane[0])
            lane.popleft()
            PENDING.dec()
        del self._lanes[plan_id]

    async def _send_until_answered(self, change: int) -> None:
        attempt = 0
        while True:
            wait: float | None
            try:
                async with self._turn:
                    wait = await self._send(change)
                if wait is None:
                    return
            except Exception:  # an upload that was acknowledged is never given up
                log.exception("webhook failed", change=change)
                wait = 0.0
            backoff = min(FIRST_WAIT * 2 ** min(attempt, 10), LONGEST_WAIT) * random.uniform(0.8, 1.2)  # noqa: S311
            await asyncio.sleep(max(wait, backoff))
            attempt += 1

    async def _send(self, change: int) -> float | None:
        """None when it is answered for good, else the seconds that the other side asked us to wait."""
        upload, message = await self._store.read(lambda connection: uploads.message(connection, change))
        traced = self._tracing.begin(
            "POST /v1/messages",
            upload["traceparent"],
            SpanKind.CLIENT,
            self._facts | {of.CORRELATION_ID: upload["correlation_id"], of.MESSAGE_ID: upload["message_id"]},
        )
        try:
            return await self._post(upload, message, traced)
        finally:
            traced.span.end()

    async def _post(self, upload: dict[str, Any], message: dict[str, Any], traced: Traced) -> float | None:
        assert self._session is not None  # noqa: S101 - start() made it
        headers = {
            "X-Correlation-ID": upload["correlation_id"],
            "X-Request-ID": str(uuid_utils.uuid4()),
            "Idempotency-Key": upload["message_id"],
            "traceparent": traced.traceparent,
            **self._credential(),
        }
        try:
            async with self._session.post(self._url, json=message, headers=headers) as response:
                traced.answered(response.status)
                body = await response.read()
                return await self._judge(upload, response, body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            Tracing.fail(traced, error)
            reason = f"ingress cannot be reached: {error or type(error).__name__}"
            return await self._try_later(upload, reason, 0.0, "unreachable")

    async def _judge(self, upload: dict[str, Any], response: aiohttp.ClientResponse, body: bytes) -> float | None:
        status = response.status
        if 400 <= status < 500 and status not in AGAIN:
            await self._finish(upload, _problem(status, body))
            return None
        if 200 <= status < 300:
            await self._finish(upload, None)
            return None
        reason = f"ingress answered {status}"
        return await self._try_later(upload, reason, _seconds(response.headers.get("Retry-After")), "later")

    async def _try_later(self, upload: dict[str, Any], reason: str, wait: float, result: str) -> float:
        SENT.labels(result).inc()
        self.trouble = reason
        change = upload["change"]
        await self._store.write(lambda connection: uploads.failed(connection, change, reason))
        log.warning("webhook is asked again later", reason=reason, **_context(upload))
        return wait

    async def _finish(self, upload: dict[str, Any], problem: dict[str, Any] | None) -> None:
        SENT.labels("refused" if problem else "accepted").inc()
        self.trouble = None
        change = upload["change"]
        await self._store.write(lambda connection: uploads.answered(connection, change, problem))
        log.info("webhook answered", accepted=problem is None, problem=problem, **_context(upload))


def _problem(status: int, body: bytes) -> dict[str, Any]:

    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {"title": body.decode("utf-8", "replace")[:2000] or "refused without a reason"}
    return {"status": status, **problem}


def _seconds(retry_after: str | None) -> float:
    """``Retry-After`` as seconds from now: a number or an HTTP date; 0 where it is neither. At most an hour."""
    if not retry_after:
        return 0.0
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return 0.0
    return min(max(seconds, 0.0), 3600.0)


def _context(upload: dict[str, Any]) -> dict[str, Any]:
    return {
        "planId": upload["plan_id"],
        "messageId": upload["message_id"],
        "correlationId": upload["correlation_id"],
        "traceId": trace_id(upload["traceparent"]),
    }
