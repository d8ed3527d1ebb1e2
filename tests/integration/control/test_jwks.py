"""JWTs whose keys are read from an address: a real HTTP server that comes, goes and changes its keys."""

from __future__ import annotations

import asyncio
import base64
import hmac
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
from aiohttp import web
from grpc import aio
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from tests.integration.control.client import Refused, calling, refused
from tests.integration.control.test_server import control_plane

from linkspan.control.auth.jwks import KeyAddress
from linkspan.control.auth.jwt import Jwts
from linkspan.control.errors import Away, NotKnown
from linkspan.control.identity import Identity
from linkspan.control.v1 import status_pb2

A, B, C = (ECKey.generate_key("P-256", {"kid": kid}) for kid in "abc")
HOUR = 3600.0
ISSUER, AUDIENCE = "https://identity.test", "linkspan"


class Provider:
    """Publishes ``keys``; ``asked`` counts. ``stop`` and ``start`` keep the address."""

    def __init__(self, *keys: Any) -> None:
        self.keys, self.asked, self.answers = list(keys), 0, asyncio.Event()
        self.status, self.body = 200, b""
        self.answers.set()
        self._port = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/keys"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/keys", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        await self.answers.wait()
        body = self.body or msgspec.json.encode({"keys": [key.as_dict(private=False) for key in self.keys]})
        answer = web.StreamResponse(status=self.status, headers={"location": "/elsewhere"})
        await answer.prepare(request)
        await answer.write(body[:50])
        await asyncio.sleep(0.05)  # so that it comes in two parts
        await answer.write(body[50:])
        return answer


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    made = Provider(A)
    await made.start()
    try:
        yield made
    finally:
        made.answers.set()
        await made.stop()


def signed(key: Any, alg: str = "ES256", **claims: Any) -> str:
    right = {"sub": "anna", "role": "viewer", "iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 600}
    return jwt.encode({"alg": alg, "kid": key.kid}, right | claims, key)


def sealed(secret: bytes) -> str:
    """With a shared secret, which a library refuses to make of a public key."""
    said = signed(A).split(".")[1]
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"r"}').rstrip(b"=").decode()
    seal = hmac.digest(secret, f"{head}.{said}".encode(), "sha256")
    return f"{head}.{said}.{base64.urlsafe_b64encode(seal).rstrip(b'=').decode()}"


def known_by(keys: KeyAddress) -> Jwts:
    return Jwts(keys, ISSUER, AUDIENCE, "role")


ANNA = Identity("anna", "viewer")


async def until(jwts: Jwts, token: str) -> None:
    """It counts."""
    async with asyncio.timeout(30):
        while True:
            try:
                assert await jwts.identify(token) == ANNA
            except (NotKnown, Away):
                await asyncio.sleep(0.05)
            else:
                return


async def test_keys_are_read_once_for_many_callers_and_kept(provider: Provider) -> None:
    jwts = known_by(KeyAddress(provider.url))
    assert await asyncio.gather(*(jwts.identify(signed(A)) for _ in range(20))) == [ANNA] * 20
    assert await jwts.identify(signed(A)) == ANNA
    assert provider.asked == 1


async def test_a_new_key_counts_at_once_and_unknown_ones_are_asked_for_no_more_than_the_limit_says(
    provider: Provider,
) -> None:
    jwts = known_by(KeyAddress(provider.url, at_most=HOUR))
    assert await jwts.identify(signed(A)) == ANNA
    provider.keys = [A, B]
    assert await jwts.identify(signed(B)) == ANNA
    assert provider.asked == 2
    for _ in range(10):
        with pytest.raises(NotKnown, match="No key for kid: 'c'"):
            await jwts.identify(signed(C))
    assert await jwts.identify(signed(A)) == ANNA
    assert provider.asked == 2


async def test_after_a_rotation_the_old_key_counts_no_more(provider: Provider) -> None:
    jwts = known_by(KeyAddress(provider.url, keep=0, at_most=0))
    assert await jwts.identify(signed(A)) == ANNA
    provider.keys = [B]
    await until(jwts, signed(B))
    with pytest.raises(NotKnown):
        await jwts.identify(signed(A))


async def test_a_key_that_is_replaced_under_its_name_counts(provider: Provider) -> None:
    jwts = known_by(KeyAddress(provider.url))
    assert await jwts.identify(signed(A)) == ANNA
    again = ECKey.generate_key("P-256", {"kid": A.kid})
    provider.keys = [again]
    assert await jwts.identify(signed(again)) == ANNA


@pytest.mark.parametrize("fault", ["gone", "no answer", "an error", "elsewhere", "no keys", "none of them"])
async def test_keys_once_read_stay_in_force_while_the_address_gives_none(provider: Provider, fault: str) -> None:
    jwts = known_by(KeyAddress(provider.url, keep=0, at_most=0))
    assert await jwts.identify(signed(A)) == ANNA
    if fault == "gone":
        await provider.stop()
    elif fault == "no answer":
        provider.answers.clear()
    elif fault in ("an error", "elsewhere"):
        provider.status = 503 if fault == "an error" else 302
    else:
        provider.body = b"<html>" * 20 if fault == "no keys" else b'{"keys": []}'
    for _ in range(20):
        assert await jwts.identify(signed(A)) == ANNA
        await asyncio.sleep(0.01)
    if fault == "gone":
        await provider.start()
    provider.status, provider.body, provider.keys = 200, b"", [B]
    provider.answers.set()
    await until(jwts, signed(B))


async def test_who_has_a_known_key_does_not_wait_for_an_address_that_does_not_answer(provider: Provider) -> None:
    jwts = known_by(KeyAddress(provider.url, keep=0, at_most=0))
    assert await jwts.identify(signed(A)) == ANNA
    provider.answers.clear()
    stranger = asyncio.create_task(jwts.identify(signed(B)))
    async with asyncio.timeout(30):
        while provider.asked < 2:  # noqa: ASYNC110 - the server counts
            await asyncio.sleep(0.01)
    assert await jwts.identify(signed(A)) == ANNA
    assert not stranger.done()
    provider.keys = [A, B]
    provider.answers.set()
    assert await stranger == ANNA


async def test_a_first_caller_who_gives_up_leaves_the_keys_to_the_next(provider: Provider) -> None:
    jwts = known_by(KeyAddress(provider.url, after_failure=HOUR))
    provider.answers.clear()
    first, second = (asyncio.create_task(jwts.identify(signed(A))) for _ in range(2))
    async with asyncio.timeout(30):
        while not provider.asked:  # noqa: ASYNC110 - the server counts
            await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    provider.answers.set()
    assert await second == ANNA
    assert provider.asked == 1


async def test_keys_larger_than_a_mebibyte_are_not_read(provider: Provider) -> None:
    provider.body = b'{"keys": [' + b" " * 1024 * 1024
    with pytest.raises(Away):
        await known_by(KeyAddress(provider.url)).identify(signed(A))


async def ask(address: str, token: str) -> Refused | None:
    """None: it was answered."""
    async with calling(address, token) as caller:
        try:
            await caller("GetStatus", status_pb2.GetStatusRequest())
        except aio.AioRpcError as error:
            return refused(error)
    return None


async def test_a_call_with_a_token_that_does_not_hold_is_unauthenticated(provider: Provider, tmp_path: Path) -> None:
    rsa = RSAKey.generate_key(2048, {"kid": "r"})
    provider.keys = [A, rsa]
    plane = control_plane(
        tmp_path, linkspan_jwks=provider.url, linkspan_jwt_issuer=ISSUER, linkspan_jwt_audience=AUDIENCE
    )
    wrong = {
        "a secret made of the public key": sealed(rsa.as_pem(private=False)),
        "a key of another": signed(ECKey.generate_key("P-256", {"kid": "a"})),
        "a key that nobody knows": signed(B),
        "no signature": signed(A).rpartition(".")[0] + ".",
        "another issuer": signed(A, iss="https://other.test"),
        "another audience": signed(A, aud="shop"),
        "no subject": signed(A, sub=None),
        "not yet": signed(A, nbf=time.time() + 600),
        "no role of ours": signed(A, role="king"),
    }
    async with plane.running("127.0.0.1", 0) as address:
        assert await ask(address, signed(A)) is None
        assert await ask(address, signed(rsa, "RS256")) is None
        for why, token in wrong.items():
            said = await ask(address, token)
            assert said is not None, why
            assert (said.code, said.reason) == (grpc.StatusCode.UNAUTHENTICATED, "BAD_TOKEN"), why
        said = await ask(address, signed(A, exp=time.time() - 120))
        assert said is not None
        assert (said.code, said.reason) == (grpc.StatusCode.UNAUTHENTICATED, "EXPIRED_TOKEN")


async def test_where_keys_were_never_read_the_call_is_unavailable_until_they_are(
    provider: Provider, tmp_path: Path
) -> None:
    await provider.stop()
    plane = control_plane(tmp_path, linkspan_jwks=provider.url)
    async with plane.running("127.0.0.1", 0) as address:
        said = await ask(address, signed(A))
        assert said is not None
        assert (said.code, said.reason) == (grpc.StatusCode.UNAVAILABLE, "JWKS_AWAY")
        await provider.start()
        async with asyncio.timeout(60):
            while await ask(address, signed(A)) is not None:  # noqa: ASYNC110 - the server asks again by itself
                await asyncio.sleep(0.2)
