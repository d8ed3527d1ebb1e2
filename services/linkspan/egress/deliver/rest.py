"""Delivery by HTTP: one request a message, as many at a time as the system's ``throttle.concurrency``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import aiohttp
import structlog
import uuid_utils
from yarl import URL

from linkspan.egress.deliver.adapter import Answered, Delivery
from linkspan.egress.deliver.http_answer import http_error
from linkspan.egress.deliver.leased import LeasedConnector, Writing
from linkspan.egress.deliver.reach import listens
from linkspan.egress.partition.answer import Unanswered
from linkspan.kernel.crypto.withheld import told
from linkspan.kernel.errors import DeliveryError, Unavailable
from linkspan.kernel.http.bounded import BODY_LIMIT, read_bounded
from linkspan.kernel.http.credentials import Credentials, credentials_for
from linkspan.kernel.http.paths import PathTemplate
from linkspan.kernel.secret import redacted
from linkspan.kernel.spec import Deliver, System
from linkspan.kernel.telemetry.attributes import URL as URL_ASKED

log = structlog.get_logger()

#: A closing adapter waits so long for its requests under way, seconds.
_GRACE = 0.2
_NO_LIMIT = aiohttp.ClientTimeout(total=None)
Job = tuple[Delivery, Answered]


class RestAdapter:
    """``open`` before use. The first attempt of a message gets half of the system's ``timeout``, later ones all; that
    holds for everything that belongs to it, a token and a second try with another one too."""

    def __init__(self, system: System, deliver: Deliver) -> None:
        self.wake: Callable[[], None] = lambda: None
        self.together = 1
        self._system = system
        self._method = deliver.method
        self._base = system.url.rstrip("/")
        self._path = PathTemplate(deliver.path)
        self._limits = (system.timeout / 2, system.timeout)
        self._concurrency = system.concurrency
        self._body_limit = BODY_LIMIT
        self._jobs: asyncio.Queue[Job] = asyncio.Queue()
        self._in_flight = 0
        self._workers: list[asyncio.Task[None]] = []
        self._refusal: str | None = None
        self._session: aiohttp.ClientSession
        self._credentials: Credentials

    async def open(self) -> None:
        connector = LeasedConnector()
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": "linkspan"},
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=_NO_LIMIT,
        )
        self._credentials = credentials_for(self._system, self._session)
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._concurrency)]

    def away(self) -> None:
        """Each request finds out for itself."""

    def ask_now(self) -> None:
        """Nothing waits to connect: each request does where it must."""

    def capacity(self) -> int:
        return self._concurrency - self._in_flight

    def submit(self, delivery: Delivery, answered: Answered) -> None:
        self._in_flight += 1
        self._jobs.put_nowait((delivery, answered))

    async def close(self) -> None:
        for worker in self._workers:
            worker.cancel()
        if self._workers:
            await asyncio.wait(self._workers, timeout=_GRACE + 1)
        while not self._jobs.empty():
            delivery, answered = self._jobs.get_nowait()
            self._answer(delivery, answered, Unavailable("stopping"))
        await self._session.close()

    async def check(self) -> str | None:
        """Whether somebody listens at the system's address, and what its credentials last met."""
        return await listens(self._base) or self._refusal

    async def _work(self) -> None:
        while True:
            delivery, answered = await self._jobs.get()
            error: DeliveryError | None
            try:
                error = await self._in_time(delivery)
            except DeliveryError as raised:
                error = raised
            except Exception as raised:
                log.exception("an attempt broke", messageId=delivery.message_id)
                error = Unanswered(f"{type(raised).__name__}: {raised}")
            except BaseException:
                self._answer(delivery, answered, Unanswered("stopped before the answer"))
                raise
            self._answer(delivery, answered, error)

    def _answer(self, delivery: Delivery, answered: Answered, error: DeliveryError | None) -> None:
        self._in_flight -= 1
        answered(delivery, error)
        self.wake()

    async def _in_time(self, delivery: Delivery) -> DeliveryError | None:
        writing = Writing(delivery.may_go)
        try:
            async with asyncio.timeout(self._limits[min(delivery.attempt, 2) - 1]):
                return await self._attempt(delivery, writing)
        except TimeoutError:
            return Unanswered("no answer in time") if writing.written else Unavailable("it could not be sent in time")

    async def _attempt(self, delivery: Delivery, writing: Writing) -> DeliveryError | None:
        url = URL(self._base + self._path.fill(delivery.values), encoded=True)
        headers = self._credentials.current() or await self._credentials.fetch()
        if delivery.traced.exported:
            delivery.traced.told(URL_ASKED, str(url.with_query(None)))
        with writing:
            status, error = await self._ask(url, headers, delivery)
        if status == 401 and self._credentials.refused(headers):
            headers = await self._credentials.fetch()
            with writing:
                status, error = await self._ask(url, headers, delivery)
        self._note(error.reason if error and status in (401, 403) else None)
        return error

    async def _ask(self, url: URL, credentials: dict[str, str], delivery: Delivery) -> tuple[int, DeliveryError | None]:
        """The status (0 where none came) and what it means."""
        try:
            async with self._session.request(
                self._method,
                url,
                data=delivery.body,
                headers=self._fields(delivery) | credentials,
                allow_redirects=False,
            ) as response:
                delivery.traced.answered(response.status)
                body = await read_bounded(response, self._body_limit)
                return response.status, told(
                    self._judged(delivery, response.status, response.headers, body), delivery.secrets
                )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return 0, Unavailable(f"no connection to {url.host}: {error}")
        except (aiohttp.InvalidURL, ValueError) as error:
            return 0, Unavailable(f"the request cannot be made: {error}")
        except aiohttp.ClientError as error:
            return 0, Unanswered(redacted(f"the connection broke: {type(error).__name__} {error}".rstrip()))

    def _fields(self, delivery: Delivery) -> dict[str, str]:
        return _headers(delivery)

    def _judged(
        self, _delivery: Delivery, status: int, headers: Mapping[str, str], body: bytes
    ) -> DeliveryError | None:
        return None if status < 300 else http_error(status, headers, body)

    def _note(self, refusal: str | None) -> None:
        """Logs once when the credentials stop or start to be taken."""
        if refusal and not self._refusal:
            log.error("credentials refused: delivery waits until they are corrected", url=self._base, reason=refusal)
        self._refusal = refusal


def _headers(delivery: Delivery) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "X-Request-ID": str(uuid_utils.uuid7()),
        "Idempotency-Key": delivery.message_id,
        "Linkspan-Sequence": str(delivery.sequence),
        "traceparent": delivery.traceparent,
    }
    if delivery.correlation_id:
        headers["X-Correlation-ID"] = delivery.correlation_id
    if delivery.redelivery:
        headers["Linkspan-Redelivery"] = "possible"
    if delivery.replay is not None:
        headers["Linkspan-Replay"] = delivery.replay
    return headers
