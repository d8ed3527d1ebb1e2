"""JSON Web Tokens of an identity provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from joserfc import jwt
from joserfc.errors import BadSignatureError, ExpiredTokenError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from linkspan.control.auth.refused import EXPIRED
from linkspan.control.errors import NotKnown
from linkspan.control.identity import Identity
from linkspan.control.roles import ROLES

#: Signatures with a public key alone: a shared secret would let every verifier make tokens.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA")
#: Clocks may be so far apart, seconds.
LEEWAY = 30


class Keys(Protocol):
    async def keys(self, *, newer: bool = False) -> KeySet: ...


class Verifier:
    """``issuer`` and ``audience`` are demanded where given; an expiry and a subject always. ``leeway`` in seconds."""

    def __init__(
        self,
        keys: Keys,
        issuer: str | None,
        audience: str | None,
        *,
        algorithms: Sequence[str] = ALGORITHMS,
        leeway: int = LEEWAY,
    ) -> None:
        self._keys, self._algorithms = keys, list(algorithms)
        wanted: dict[str, Any] = {"exp": {"essential": True}, "sub": {"essential": True}}
        wanted |= {name: {"essential": True, "value": said} for name, said in _said(issuer, audience) if said}
        self._claims = jwt.JWTClaimsRegistry(leeway=leeway, **wanted)

    async def claims(self, token: str) -> dict[str, Any]:
        """Raises NotKnown, or Away where the keys cannot be had."""
        try:
            claims = await self._decoded(token)
            self._claims.validate(claims)
        except ExpiredTokenError as error:
            raise NotKnown("EXPIRED_TOKEN", EXPIRED) from error
        except (JoseError, ValueError, TypeError) as error:
            raise NotKnown("BAD_TOKEN", f"the token does not hold: {error}") from error
        return claims

    async def _decoded(self, token: str) -> dict[str, Any]:
        try:
            return dict(jwt.decode(token, await self._keys.keys(), algorithms=self._algorithms).claims)
        except (InvalidKeyIdError, BadSignatureError):  # a new key, which may have the name of an old one or none
            newer = await self._keys.keys(newer=True)
            return dict(jwt.decode(token, newer, algorithms=self._algorithms).claims)


class Jwts:
    """Operators' tokens: one of its roles stands in the claim ``role_claim``."""

    def __init__(self, keys: Keys, issuer: str | None, audience: str | None, role_claim: str) -> None:
        self._verifier, self._role_claim = Verifier(keys, issuer, audience), role_claim

    async def identify(self, token: str) -> Identity:
        """Raises NotKnown, or Away where the keys cannot be had."""
        claims = await self._verifier.claims(token)
        return Identity(str(claims["sub"]), self._role(claims))

    def _role(self, claims: Mapping[str, Any]) -> str:
        """The highest that it names; one of ours, else the token is of no use here."""
        said = claims.get(self._role_claim)
        named = said if isinstance(said, list) else [said]
        for role in ROLES:
            if role in named:
                return role
        raise NotKnown("BAD_TOKEN", f"its claim {self._role_claim} names none of {', '.join(ROLES)}")


def _said(issuer: str | None, audience: str | None) -> list[tuple[str, str | None]]:
    return [("iss", issuer), ("aud", audience)]
