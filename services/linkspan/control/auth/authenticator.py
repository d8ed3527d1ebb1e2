"""Whoever calls, by what the call brings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import structlog

from linkspan.control.auth.certificates import Certificates
from linkspan.control.auth.first_token import FirstToken, first_token
from linkspan.control.auth.jwks import KeyAddress, KeyFile
from linkspan.control.auth.jwt import Jwts
from linkspan.control.auth.refused import NO_CREDENTIALS, UNKNOWN
from linkspan.control.auth.tokens import Tokens
from linkspan.control.errors import NotKnown
from linkspan.control.identity import Identity
from linkspan.control.settings import ControlSettings
from linkspan.kernel.config import Mode
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.tls.plain import check_addresses

log = structlog.get_logger()

_BEARER = "bearer "


class Authenticator:
    """A token counts before a certificate, if a call brings both."""

    def __init__(
        self, tokens: Iterable[Tokens | FirstToken], jwts: Jwts | None = None, certificates: Certificates | None = None
    ) -> None:
        self._tokens, self._jwts, self._certificates = list(tokens), jwts, certificates

    @classmethod
    def of(cls, settings: ControlSettings) -> Authenticator:
        """Raises UserMistake where something cannot be used, or in production nobody could be known."""
        tokens: list[Tokens | FirstToken] = [Tokens(settings.tokens_file)] if settings.tokens_file else []
        certificates = Certificates(settings.linkspan_client_roles) if settings.linkspan_client_roles else None
        jwts = _jwts(settings)
        if not tokens and jwts is None and settings.linkspan_control_client_ca is None:
            if settings.integration_mode is Mode.PRODUCTION:
                raise UserMistake(
                    "the control API would know nobody: set LINKSPAN_TOKENS, LINKSPAN_JWKS or "
                    "LINKSPAN_CONTROL_CLIENT_CA (docs/control.md)"
                )
            tokens.append(FirstToken(first_token(settings.control_folder)))
        return cls(tokens, jwts, certificates)

    async def identify(self, metadata: Mapping[str, str], connection: Mapping[str, Iterable[bytes]]) -> Identity:
        """``connection``: gRPC's auth context. Raises NotKnown, Away."""
        said = metadata.get("authorization")
        if said is not None:
            return await self._by_token(said)
        found = self._certificates.identify(connection) if self._certificates else None
        if found is None:
            raise NotKnown("NO_CREDENTIALS", NO_CREDENTIALS)
        return found

    async def _by_token(self, said: str) -> Identity:
        if not said.lower().startswith(_BEARER):
            raise NotKnown("BAD_TOKEN", f"authorization: {NO_CREDENTIALS}")
        token = said[len(_BEARER) :].strip()
        for tokens in self._tokens:
            found = tokens.identify(token)
            if found is not None:
                return found
        if self._jwts is None or token.count(".") != 2:
            raise NotKnown("BAD_TOKEN", UNKNOWN)
        return await self._jwts.identify(token)


def _jwts(settings: ControlSettings) -> Jwts | None:
    where = settings.linkspan_jwks
    if where is None:
        return None
    check_addresses(settings, {"LINKSPAN_JWKS": where})
    keys = KeyAddress(where) if where.startswith(("https://", "http://")) else KeyFile(Path(where))
    return Jwts(keys, settings.linkspan_jwt_issuer, settings.linkspan_jwt_audience, settings.linkspan_jwt_role_claim)
