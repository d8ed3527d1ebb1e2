"""The transform step ``lookup``: GET by key from a rest system, remembered for the messages that follow."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog
from opentelemetry.trace import SpanKind

from linkspan.kernel.errors import Poison, Rejected, Transient, Unavailable
from linkspan.kernel.http.client import AnswerTooLong, Got, RestReader
from linkspan.kernel.http.paths import PathTemplate
from linkspan.kernel.message import Json, text_at
from linkspan.kernel.resilience.limits import Limits
from linkspan.kernel.spec import System
from linkspan.kernel.spec_transform import LookupSpec
from linkspan.kernel.telemetry import attributes as of
from linkspan.kernel.telemetry.attributes import server_facts
from linkspan.kernel.telemetry.metrics import LOOKUPS
from linkspan.transform.asked import Asked, Cause
from linkspan.transform.cache import FoundCache
from linkspan.transform.content import holds_reference

log = structlog.get_logger()

#: Bytes of an answer that is kept; with 1000 entries a lookup holds some hundreds of MB at the very worst.
LARGEST = 256 * 1024
#: A looked-up key that is not there.
MISSING = object()
_UNKNOWN = object()
_decode = msgspec.json.Decoder().decode


class Lookup:
    """One step. ``close`` at the end. Messages that need the same key at the same time share one request."""

    def __init__(self, spec: LookupSpec, system: System, flow: str, limits: Limits) -> None:
        self.spec, self._limits = spec, limits
        self._path = PathTemplate(spec.path)
        self._reader = RestReader(system)
        self._cache = FoundCache(spec.cache.entries, spec.cache.ttl)
        self._asking: dict[str, asyncio.Task[Any]] = {}
        self.at_once = system.concurrency
        self._base, template = system.url.rstrip("/"), spec.path.partition("?")[0]
        self._name = f"GET {template}"
        self._facts = server_facts(system.url)
        self._facts |= {of.STEP: "lookup", of.METHOD: "GET", of.PATH_TEMPLATE: template, of.FLOW: flow}
        self._asked_path = Asked(spec.system, f"{flow} lookup {spec.into}", system)
        self._count = {result: LOOKUPS.labels(flow, result) for result in ("hit", "found", "missing", "failed")}
        self._said_at = float("-inf")

    def ask_now(self) -> None:
        """Somebody thinks that its system is back."""
        self._asked_path.ask_now()

    def now(self, payload: Json, header: Mapping[str, Any]) -> Json | None:
        """The payload with what is remembered; None where the system must be asked (use ``later``). Raises Poison."""
        key, path = self._wanted(payload, header)
        found = MISSING if key is None else self._cache.get(path, _UNKNOWN)
        if found is _UNKNOWN:
            return None
        if key is not None:
            self._count["hit"].inc()
        return self._with(payload, key, found)

    async def later(self, payload: Json, header: Mapping[str, Any], cause: Cause) -> Json:
        """Raises Poison, Unavailable where the system cannot be asked, or Transient where it fails for this path."""
        made = self.now(payload, header)
        if made is not None:
            return made
        key, path = self._wanted(payload, header)
        task = self._asking.get(path)
        if task is None:
            task = self._asking[path] = asyncio.create_task(self._ask(key, path, cause))
            task.add_done_callback(lambda done: self._asked(path, done))
        return self._with(payload, key, await asyncio.shield(task))

    def _asked(self, path: str, done: asyncio.Task[Any]) -> None:
        del self._asking[path]
        if not done.cancelled():
            done.exception()  # its waiters raise it; there may be none any more

    def given(self, payload: Json, answers: Mapping[str, Any]) -> Json:
        """As ``later``, with ``answers`` by key instead of the system: for examples. Raises Poison."""
        key = text_at(payload, self.spec.key)
        found = MISSING if key is None or key not in answers else msgspec.json.encode(answers[key])
        return self._with(payload, key, found)

    def _wanted(self, payload: Json, header: Mapping[str, Any]) -> tuple[str | None, str]:
        """The key and the path; without a key nothing can be asked for."""
        key = text_at(payload, self.spec.key)
        if key is None:
            return None, ""
        values = {name: text_at(payload, name) or header.get(name) for name in self.spec.names}
        try:
            return key, self._path.fill(values)
        except Rejected as error:
            raise Poison(f"the lookup of {self.spec.into} cannot be made: {error.reason}") from error

    def _with(self, payload: Json, key: str | None, found: Any) -> Json:
        if found is MISSING:
            if self.spec.missing == "poison":
                said = f"{self.spec.system} has nothing for {self.spec.key} {key!r}" if key else f"no {self.spec.key}"
                raise Poison(f"the lookup of {self.spec.into} found nothing: {said}")
            return {**payload, self.spec.into: None}
        return {**payload, self.spec.into: _decode(found)}

    async def _ask(self, key: str | None, path: str, cause: Cause) -> Any:
        try:
            got = await self._get(path, cause)
        except Unavailable as error:
            self._say(error.reason)
            self._count["failed"].inc()
            raise Unavailable(
                f"the lookup of {self.spec.into} waits for {self.spec.system}: {error.reason}",
                retry_after=error.retry_after,
            ) from error
        except Transient as error:
            raise Transient(f"the lookup of {self.spec.into} for {key!r}: {error.reason}") from error
        except AnswerTooLong as error:
            raise Poison(f"the lookup of {self.spec.into} for {key!r}: {error}") from error
        if got.status in (404, 410):
            self._count["missing"].inc()
            return MISSING
        _check(got, f"the lookup of {self.spec.into} for {key!r}")
        self._count["found"].inc()
        self._cache.put(path, got.body)
        return got.body

    async def _get(self, path: str, cause: Cause) -> Got:
        """The message that asks first gives the span its place; others share the answer."""
        self._asked_path.check()
        async with self._limits.turn():
            facts = self._facts | {of.CORRELATION_ID: cause.correlation_id, of.URL: self._base + path.partition("?")[0]}
            with (
                cause.tracing.span(self._name, cause.traceparent, SpanKind.CLIENT, facts) as traced,
                self._asked_path.asking(path, self._limits),
            ):
                got = await self._reader.get(path, LARGEST, headers={"traceparent": traced.traceparent})
                traced.answered(got.status)
                return got

    def _say(self, trouble: str) -> None:
        """At most once in 5 s."""
        now = asyncio.get_running_loop().time()
        if now - self._said_at >= 5:
            self._said_at = now
            log.warning("lookups wait", system=self.spec.system, reason=trouble)

    async def close(self) -> None:
        for task in list(self._asking.values()):
            task.cancel()
        await self._reader.close()


def _check(got: Got, what: str) -> None:
    """Raises Poison unless it is JSON that a transform can take."""
    if got.status != 200:
        raise Poison(f"{what} was answered {got.reason or got.status}")
    try:
        found = _decode(got.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Poison(f"{what} brought no JSON: {error}") from error
    if holds_reference({"value": found}, rounded=True):
        raise Poison(f"{what} brought what reads as a reference to a blob of ours")
