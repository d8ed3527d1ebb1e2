"""Clients that send a JSON Web Token."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from linkspan.control.auth.jwks import KeyAddress, KeyFile
from linkspan.control.auth.jwt import Verifier
from linkspan.control.errors import Away, NotKnown
from linkspan.ingress.admit.buckets import Buckets
from linkspan.ingress.admit.client import Client, flows_of
from linkspan.ingress.admit.settings import IntakeSettings, algorithms
from linkspan.ingress.errors import NotAdmitted, NotNow
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.tls.plain import check_addresses

#: A token that was verified is believed for so long, seconds: a key that its issuer takes back is refused after that.
BELIEVED = 60.0
#: Tokens that are believed at once.
MOST = 10_000
LONGEST = 8 * 1024


class TokenHolders:
    """Raises UserMistake where the keys cannot be used."""

    def __init__(self, verifier: Verifier, scope_claim: str, leeway: int, rates: Buckets | None) -> None:
        self._verifier, self._scope_claim, self._leeway, self._rates = verifier, scope_claim, leeway, rates
        self._believed: OrderedDict[bytes, Client] = OrderedDict()

    @classmethod
    def of(cls, settings: IntakeSettings, rates: Buckets | None) -> TokenHolders | None:
        """None where no tokens are taken."""
        where = settings.linkspan_intake_jwks
        issuer, audience = settings.linkspan_intake_jwt_issuer, settings.linkspan_intake_jwt_audience
        if where is None:
            return None
        if not issuer or not audience:
            raise UserMistake(
                "LINKSPAN_INTAKE_JWKS needs LINKSPAN_INTAKE_JWT_ISSUER and LINKSPAN_INTAKE_JWT_AUDIENCE: a token that "
                "was made for somebody else must not be taken here"
            )
        check_addresses(settings, {"LINKSPAN_INTAKE_JWKS": where})
        keys = KeyAddress(where) if where.startswith(("https://", "http://")) else KeyFile(Path(where))
        leeway = settings.linkspan_intake_jwt_leeway_seconds
        allowed = algorithms(settings.linkspan_intake_jwt_algorithms)
        verifier = Verifier(keys, issuer, audience, algorithms=allowed, leeway=leeway)
        return cls(verifier, settings.linkspan_intake_jwt_scope_claim, leeway, rates)

    def believed(self, token: str) -> Client | None:
        """Whose it is, where it was verified a moment ago."""
        name = _name(token)
        found = self._believed.get(name)
        if found is not None and found.until <= time.time():
            del self._believed[name]
            return None
        return found

    async def verified(self, token: str) -> Client:
        """Raises NotAdmitted, or NotNow where its issuer's keys cannot be had."""
        if len(token) > LONGEST:
            raise NotAdmitted("unknown", "the token is too long")
        try:
            claims = await self._verifier.claims(token)
        except NotKnown as error:
            raise NotAdmitted("expired" if error.reason == "EXPIRED_TOKEN" else "unknown", str(error)) from error
        except Away as error:
            raise NotNow("the keys of the tokens' issuer cannot be read now", 5) from error
        client = self._client(claims)
        while len(self._believed) >= MOST:
            self._believed.popitem(last=False)
        self._believed[_name(token)] = client
        return client

    def _client(self, claims: Mapping[str, Any]) -> Client:
        now, name = time.time(), str(claims["sub"])
        bucket = None if self._rates is None else self._rates.of(f"token {name}", time.monotonic())
        until = min(now + BELIEVED, float(claims["exp"]) + self._leeway)
        return Client("token", name, flows_of(_words(claims.get(self._scope_claim))), bucket, until=until)


def _name(token: str) -> bytes:
    """The token itself is kept nowhere."""
    return hashlib.sha256(token.encode()).digest()


def _words(said: Any) -> list[str]:
    """Of a claim: as OAuth2 has scopes, or a list."""
    if isinstance(said, str):
        return said.split()
    return [one for one in said if isinstance(one, str)] if isinstance(said, list) else []
