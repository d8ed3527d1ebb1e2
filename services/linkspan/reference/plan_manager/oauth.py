"""OAuth 2.0 client credentials (RFC 6749, 4.4): tokens are JWTs signed (HS256) by a key kept in the store."""

from __future__ import annotations

import base64
import binascii
import hmac
import math
import secrets
import sqlite3
import time
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import parse_qs, unquote_plus

import uuid_utils
from fastapi import APIRouter, Depends, Request
from fastapi.openapi.models import OAuthFlowClientCredentials, OAuthFlows
from fastapi.responses import JSONResponse
from fastapi.security import OAuth2, SecurityScopes
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from linkspan.reference.problems import Problem
from linkspan.reference.store import Store

ISSUER = "plan-manager"
SCOPES = {
    "plans.read": "Read plans, the change feed and what was received.",
    "plans.write": "Upload plans.",
    "results.write": "Store analyses and refusal notices.",
}
#: Verified tokens kept until they expire, so that a client pays for a signature check once.
CACHED = 1_000
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "required": ["grant_type"],
                    "properties": {
                        name: {"type": "string"} for name in ("grant_type", "client_id", "client_secret", "scope")
                    },
                },
                "example": {"grant_type": "client_credentials", "client_id": "linkspan", "client_secret": "…"},
            }
        },
    }
}

router = APIRouter(tags=["oauth"])
_scheme = OAuth2(
    flows=OAuthFlows(clientCredentials=OAuthFlowClientCredentials(tokenUrl="/oauth/token", scopes=SCOPES)),
    auto_error=False,
)


class Tokens:
    """Issues and checks the tokens of the one client that this plan manager knows."""

    def __init__(self, key: bytes, client: tuple[str, str], lifetime: int) -> None:
        self._key = OctKey.import_key(key)
        self._client = client
        self._lifetime = lifetime
        self._verified: dict[str, tuple[float, frozenset[str]]] = {}

    @classmethod
    async def open(cls, store: Store, client: tuple[str, str], lifetime: int) -> Tokens:
        return cls(await store.write(_signing_key), client, lifetime)

    def knows(self, client_id: str, secret: str) -> bool:
        wanted_id, wanted = self._client
        same_id = hmac.compare_digest(client_id.encode(), wanted_id.encode())
        return hmac.compare_digest(secret.encode(), wanted.encode()) and same_id

    def issue(self, client_id: str, scopes: Sequence[str]) -> dict[str, Any]:
        now = time.time()
        claims = {
            "iss": ISSUER,
            "aud": ISSUER,
            "sub": client_id,
            "iat": int(now),
            "exp": math.ceil(now) + self._lifetime,
            "jti": str(uuid_utils.uuid7()),
            "scope": " ".join(scopes),
        }
        token = jwt.encode({"alg": "HS256"}, claims, self._key)
        return {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": self._lifetime,
            "scope": claims["scope"],
        }

    def scopes_of(self, token: str) -> frozenset[str]:
        """Raises Problem 401 where the token is not ours, altered or expired."""
        expires, scopes = self._verified.get(token) or self._verify(token)
        if expires <= time.time():
            self._verified.pop(token, None)
            raise _unauthorised("The access token has expired; ask /oauth/token for another.")
        return scopes

    def _verify(self, token: str) -> tuple[float, frozenset[str]]:
        try:
            claims = jwt.decode(token, self._key, algorithms=["HS256"]).claims
        except (JoseError, ValueError) as error:
            raise _unauthorised("The access token is not valid.") from error
        if claims.get("iss") != ISSUER or not isinstance(claims.get("exp"), int):
            raise _unauthorised("The access token is not valid.")
        if len(self._verified) >= CACHED:
            self._verified.clear()
        verified = float(claims["exp"]), frozenset(str(claims.get("scope", "")).split())
        self._verified[token] = verified
        return verified


async def bearer(request: Request, wanted: SecurityScopes, header: Annotated[str | None, Depends(_scheme)]) -> None:
    """Use as ``Security(bearer, scopes=[…])``: 401 without a good token, 403 without the scope."""
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Problem(
            401,
            "unauthorised",
            "An access token is needed: Authorization: Bearer …",
            headers={"WWW-Authenticate": f'Bearer realm="{ISSUER}"'},
        )
    tokens: Tokens = request.app.state.tokens
    missing = set(wanted.scopes) - tokens.scopes_of(token.strip())
    if missing:
        names = " ".join(sorted(missing))
        raise Problem(
            403,
            "insufficient-scope",
            f"The access token lacks the scope {names}.",
            headers={"WWW-Authenticate": f'Bearer realm="{ISSUER}", error="insufficient_scope", scope="{names}"'},
        )


@router.post("/oauth/token", openapi_extra=_BODY)
async def token(request: Request) -> JSONResponse:
    """Client credentials, in the form or by HTTP Basic; errors as in RFC 6749, 5.2."""
    tokens: Tokens = request.app.state.tokens
    if "application/x-www-form-urlencoded" not in request.headers.get("content-type", ""):
        return _refused(400, "invalid_request", "send application/x-www-form-urlencoded")
    form = parse_qs((await request.body()).decode("utf-8", "replace"), keep_blank_values=True)
    twice = [name for name, values in form.items() if len(values) > 1]
    if twice:
        return _refused(400, "invalid_request", f"{twice[0]} is there more than once")
    fields = {name: values[0] for name, values in form.items()}
    if not fields.get("grant_type"):
        return _refused(400, "invalid_request", "grant_type is missing")
    client_id, secret = _credentials(request, fields)
    if not tokens.knows(client_id, secret):
        return _refused(401, "invalid_client", "client id or secret is wrong")
    if fields["grant_type"] != "client_credentials":
        return _refused(400, "unsupported_grant_type", "only client_credentials is offered")
    scopes = fields.get("scope", "").split() or list(SCOPES)
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown:
        return _refused(400, "invalid_scope", f"there is no scope {unknown[0]}")
    return JSONResponse(tokens.issue(client_id, scopes), headers={"Cache-Control": "no-store"})


def _credentials(request: Request, fields: dict[str, str]) -> tuple[str, str]:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return fields.get("client_id", ""), fields.get("client_secret", "")
    try:
        client_id, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return unquote_plus(client_id), unquote_plus(secret)


def _refused(status: int, error: str, description: str) -> JSONResponse:
    headers = {"Cache-Control": "no-store"}
    if status == 401:
        headers["WWW-Authenticate"] = f'Basic realm="{ISSUER}"'
    return JSONResponse({"error": error, "error_description": description}, status, headers)


def _unauthorised(text: str) -> Problem:
    challenge = f'Bearer realm="{ISSUER}", error="invalid_token", error_description="{text}"'
    return Problem(401, "unauthorised", text, headers={"WWW-Authenticate": challenge})


def _signing_key(connection: sqlite3.Connection) -> bytes:
    fresh = secrets.token_bytes(32)
    connection.execute("INSERT INTO secrets VALUES ('signing', ?) ON CONFLICT DO NOTHING", (fresh,))
    return bytes(connection.execute("SELECT value FROM secrets WHERE name = 'signing'").fetchone()["value"])
