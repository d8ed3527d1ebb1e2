"""JSON Web Tokens of an identity provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from joserfc import jwt
from joserfc.errors import ExpiredTokenError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from linkspan.control.auth.refused import EXPIRED
from linkspan.control.errors import NotKnown
from linkspan.control.identity import Identity
from linkspan.control.roles import ROLES

#: Signatures with a public key alone: a shared secret would let every verifier make tokens.
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"]
_LEEWAY = 30


class Keys(Protocol):
    async def keys(self, *, newer: bool = False) -> KeySet: ...


class Jwts:
    """``issuer`` and ``audience`` are demanded where given; an expiry and a subject always."""

    def __init__(self, keys: Keys, issuer: str | None, audience: str | None, role_claim: str) -> None:
        self._keys, self._role_claim = keys, role_claim
        wanted: dict[str, Any] = {"exp": {"essential": True}, "sub": {"essential": True}}
        wanted |= {name: {"essential": True, "value": said} for name, said in _said(issuer, audience) if said}
        self._claims = jwt.JWTClaimsRegistry(leeway=_LEEWAY, **wanted)

    async def identify(self, token: str) -> Identity:
        """Raises NotKnown, or Away where the keys cannot be had."""
        try:
            claims = await self._decoded(token)
            self._claims.validate(claims)
        except ExpiredTokenError as error:
            raise NotKnown("EXPIRED_TOKEN", EXPIRED) from error
        except (JoseError, ValueError, TypeError) as error:
            raise NotKnown("BAD_TOKEN", f"the token does not hold: {error}") from error
        return Identity(str(claims["sub"]), self._role(claims))

    async def _decoded(self, token: str) -> dict[str, Any]:
        try:
            return dict(jwt.decode(token, await self._keys.keys(), algorithms=_ALGORITHMS).claims)
        except InvalidKeyIdError:
            return dict(jwt.decode(token, await self._keys.keys(newer=True), algorithms=_ALGORITHMS).claims)

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
