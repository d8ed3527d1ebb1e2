"""Nobody's message is looked at before it is known who sends it, and that it may come now."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping

import structlog

from linkspan.control.fold import ControlState
from linkspan.control.keys import Keys
from linkspan.ingress.admit.api_keys import KeyHolders
from linkspan.ingress.admit.buckets import Buckets
from linkspan.ingress.admit.client import Client, network_of
from linkspan.ingress.admit.remembered import RememberedKeys
from linkspan.ingress.admit.settings import Intake, IntakeSettings
from linkspan.ingress.admit.tokens import TokenHolders
from linkspan.ingress.errors import NotAdmitted, NotNow, TooMany
from linkspan.kernel.config import Mode
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.telemetry.metrics import THROTTLED

log = structlog.get_logger()

_KEY, _BEARER = b"x-api-key", b"authorization"
_SCHEME = "bearer "
_EARLY = "who may send is not known yet: the control topic was not read"
_ANYBODY = Client("address", "anybody", None, None)


class Door:
    """Closed until the control topic was read, but for what ``remembered`` knows from before; open to everybody only
    where the settings allow it and no key was ever issued. Raises UserMistake for settings that cannot be used."""

    def __init__(
        self, settings: IntakeSettings, used: Callable[[str, float], None], remembered: RememberedKeys | None = None
    ) -> None:
        rate, burst = settings.linkspan_intake_rate, settings.linkspan_intake_burst
        self._rates = Buckets(rate, burst) if rate else None
        self._refusals = Buckets(settings.linkspan_intake_refusals / 60, settings.linkspan_intake_refusals)
        self._remembered, self._is_read = remembered, False
        self._keys: Keys | None = remembered.keys() if remembered else None
        self._by_key = KeyHolders(rate, burst, used)
        self._by_token = TokenHolders.of(settings, self._rates)
        self._always_asks = settings.linkspan_intake is Intake.IDENTIFIED or self._by_token is not None
        if settings.integration_mode is Mode.PRODUCTION and not self._always_asks:
            raise UserMistake(
                "anybody could send messages: set LINKSPAN_INTAKE=identified and issue API keys (linkspan keys issue), "
                "or set LINKSPAN_INTAKE_JWKS (docs/security.md)"
            )

    def watch(self, state: ControlState) -> None:
        """``state``: what is in force, with all that changes in it later."""
        first, self._is_read, self._keys = not self._is_read, True, state.keys
        if first:
            self.keep()
        if first and not self._asks(state.keys):
            log.warning(
                "anybody may send messages: no API key was ever issued, and neither LINKSPAN_INTAKE_JWKS nor "
                "LINKSPAN_INTAKE=identified is set"
            )

    def keep(self) -> None:
        """For the next start: to be called when a key was issued or revoked."""
        if self._remembered is not None and self._is_read and self._keys is not None:
            self._remembered.keep(self._keys)

    @property
    def trouble(self) -> str | None:
        return None if self._is_read else _EARLY

    def _asks(self, keys: Keys) -> bool:
        return self._always_asks or bool(keys.by_id)

    def admit_now(self, fields: Mapping[bytes, bytes], address: str) -> Client | None:
        """Where nothing must be awaited or refused; ``fields``: each name once, in lower case."""
        keys, key, bearer = self._keys, fields.get(_KEY), fields.get(_BEARER)
        if keys is None or (key is not None and bearer is not None):
            return None
        if key is not None:
            try:
                return self._by_key.holder(keys, key.decode("latin-1"))
            except NotAdmitted:
                return None
        if bearer is not None:
            token = _token(bearer)
            return self._by_token.believed(token) if token and self._by_token else None
        return None if self._asks(keys) else self._anybody(address)

    async def admit(self, headers: Iterable[tuple[bytes, bytes]], address: str) -> Client:
        """Raises NotAdmitted, NotNow, and TooMany where the address was refused too often."""
        keys, bearers = [], []
        for name, value in headers:
            if name == _KEY:
                keys.append(value.decode("latin-1").strip())
            elif name == _BEARER:
                bearers.append(value)
        try:
            return await self._admitted(keys, bearers, address)
        except NotAdmitted as error:
            self._charge(address, 1)
            error.challenge = self._challenge(error)
            raise

    async def _admitted(self, keys: list[str], bearers: list[bytes], address: str) -> Client:
        if len(keys) + len(bearers) > 1:
            raise NotAdmitted("unknown", "more than one credential was sent; send one")
        if bearers:
            return await self._bearer(bearers[0], address)
        known = self._keys
        if known is None and (keys or not self._always_asks):
            raise NotNow(_EARLY, 1)
        if keys and known is not None:
            return self._by_key.holder(known, keys[0])
        if known is None or self._asks(known):
            raise NotAdmitted("missing", f"send {self._wanted()}")
        return self._anybody(address)

    async def _bearer(self, said: bytes, address: str) -> Client:
        token = _token(said)
        if token is None:
            raise NotAdmitted("unknown", f"Authorization holds no bearer token; send {self._wanted()}")
        if self._by_token is None:
            raise NotAdmitted("unknown", f"tokens are not taken here; send {self._wanted()}")
        found = self._by_token.believed(token)
        if found is None:
            self._charge(address, 0)  # a signature is not looked at for whoever sends too many that are wrong
            found = await self._by_token.verified(token)
        return found

    def _anybody(self, address: str) -> Client:
        if self._rates is None:
            return _ANYBODY
        name = network_of(address)
        return Client("address", name, None, self._rates.of(f"address {name}", time.monotonic()))

    def _charge(self, address: str, count: int) -> None:
        now = time.monotonic()
        bucket = self._refusals.of(network_of(address), now)
        wait = bucket.wait(now)
        if wait > 0:
            THROTTLED.labels("refused").inc()
            raise TooMany("Too many requests of this address were refused.", math.ceil(wait))
        bucket.take(count)

    def _wanted(self) -> str:
        key, bearer = "X-API-Key: <key>", "Authorization: Bearer <token>"
        return key if self._by_token is None else f"{key} or {bearer}"

    def _challenge(self, error: NotAdmitted) -> str:
        key = 'ApiKey realm="linkspan", header="X-API-Key"'
        if self._by_token is None:
            return key
        why = "" if error.reason == "missing" else ', error="invalid_token"'
        return f'Bearer realm="linkspan"{why}, {key}'


def _token(said: bytes) -> str | None:
    text = said.decode("latin-1").strip()
    return text[len(_SCHEME) :].strip() or None if text[: len(_SCHEME)].lower() == _SCHEME else None
