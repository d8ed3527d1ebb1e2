"""Bearer tokens at ingress: a real issuer's keys, and tokens with each fault."""

import base64
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from tests.integration.control.test_jwks import Provider
from tests.integration.ingress.senders import Answer, becomes, both_ways, issue, operator, post
from tests.integration.ingress.site import Replica, Site, done, replica
from tests.kafka_fixture import Kafka

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]
ISSUER, AUDIENCE = "https://identity.test", "linkspan-intake"
RSA, EC = RSAKey.generate_key(2048, {"kid": "rsa"}), ECKey.generate_key("P-256", {"kid": "ec"})
STRANGER = ECKey.generate_key("P-256", {"kid": "ec"})
HOUR = 3600


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, kafka: Kafka) -> Site:
    return Site(tmp_path_factory.mktemp("tokens"), kafka.bootstrap)


@pytest.fixture(scope="module")
def key_file(own: Site) -> Path:
    path = own.folder / "keys.json"
    publish(path, RSA, EC)
    return path


@pytest.fixture(scope="module")
def started(own: Site, key_file: Path) -> Iterator[Replica]:
    made = Replica(own, **taking(key_file))
    yield made
    made.kill()


@pytest.fixture
async def one(started: Replica) -> Replica:
    return started if started.control else await started.ready()


def taking(where: Path | str, **more: str) -> dict[str, str]:
    """Settings of an ingress that takes tokens."""
    return {
        "LINKSPAN_INTAKE_JWKS": str(where),
        "LINKSPAN_INTAKE_JWT_ISSUER": ISSUER,
        "LINKSPAN_INTAKE_JWT_AUDIENCE": AUDIENCE,
        **more,
    }


def publish(path: Path, *keys: Any) -> None:
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps({"keys": [key.as_dict(private=False) for key in keys]}))
    draft.replace(path)


def token(key: Any = EC, alg: str = "ES256", kid: str | None = None, **claims: Any) -> str:
    said = {"iss": ISSUER, "aud": AUDIENCE, "sub": "shop", "exp": int(time.time()) + HOUR, "scope": "send:orders"}
    said = {name: value for name, value in (said | claims).items() if value is not None}
    header = {"alg": alg, "kid": kid or key.kid}
    return str(jwt.encode(header, said, key, algorithms=[alg]))


def by_hand(header: dict[str, Any], secret: bytes | None) -> str:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "shop", "exp": int(time.time()) + HOUR, "scope": "send:*"}
    parts = [base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=") for one in (header, claims)]
    signed = b".".join(parts)
    signature = b"" if secret is None else hmac.digest(secret, signed, "sha256")
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


async def sent(to: Replica, bearer: str) -> Answer:
    return await both_ways(to, Authorization=f"Bearer {bearer}")


async def test_a_good_token_is_taken_and_nobody_without_one_is(one: Replica) -> None:
    for good in (token(), token(RSA, "RS256"), token(RSA, "PS256"), token(aud=["x", AUDIENCE])):
        assert (await sent(one, good)).status == 202
        assert (await sent(one, good)).status == 202, "also once it is remembered"
    nobody = await both_ways(one)
    assert (nobody.status, nobody.problem) == (401, "credentials-missing")
    assert nobody.headers["WWW-Authenticate"].startswith('Bearer realm="linkspan", ApiKey')


async def test_clocks_may_be_half_a_minute_apart_and_no_more(one: Replica) -> None:
    now = int(time.time())
    assert (await sent(one, token(exp=now - 5))).status == 202
    assert (await sent(one, token(nbf=now + 5))).status == 202
    late = await sent(one, token(exp=now - 60))
    assert (late.status, late.problem) == (401, "credentials-expired")
    assert 'error="invalid_token"' in late.headers["WWW-Authenticate"]
    assert (await sent(one, token(nbf=now + 120))).problem == "credentials-unknown"


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "https://elsewhere.test"},
        {"iss": None},
        {"aud": "linkspan"},
        {"aud": None},
        {"exp": None},
        {"exp": "soon"},
        {"sub": None},
        {"key": STRANGER},
        {"kid": "nobody"},
        {"key": RSA, "alg": "RS256", "kid": "ec"},
    ],
    ids=["iss", "no iss", "aud", "no aud", "no exp", "exp", "no sub", "signature", "kid", "kid of another"],
)
async def test_a_token_that_does_not_hold_is_refused(one: Replica, wrong: dict[str, Any]) -> None:
    found = await sent(one, token(**wrong))
    assert (found.status, found.problem) == (401, "credentials-unknown")


async def test_no_algorithm_but_a_signature_with_a_public_key_counts(one: Replica) -> None:
    """The public key is known to everybody, so a secret made of it would be."""
    publics = [
        RSA.as_pem(private=False),
        RSA.as_pem(private=False).strip(),
        json.dumps(RSA.as_dict(private=False)).encode(),
    ]
    forged = [by_hand({"alg": alg, "kid": "rsa", "typ": "JWT"}, secret) for alg in ("HS256",) for secret in publics]
    forged += [by_hand({"alg": alg, "kid": "rsa"}, None) for alg in ("none", "None", "NONE", "", "RS256")]
    forged += [by_hand({"kid": "rsa"}, None), by_hand({"alg": "HS256", "jwk": {"kty": "oct", "k": "YWJj"}}, b"abc")]
    for one_of_them in forged:
        found = await sent(one, one_of_them)
        assert (found.status, found.problem) == (401, "credentials-unknown")


async def test_an_algorithm_that_is_not_on_the_list_is_refused(own: Site, key_file: Path) -> None:
    async with replica(own, **taking(key_file, LINKSPAN_INTAKE_JWT_ALGORITHMS="RS256")) as strict:
        assert (await sent(strict, token(RSA, "RS256"))).status == 202
        assert (await sent(strict, token(RSA, "PS256"))).status == 401
        assert (await sent(strict, token())).status == 401


@pytest.mark.parametrize("broken", ["x", "a.b", "a.b.c", "....", "a" * 9000, "é.é.é".encode().decode("latin-1")])
async def test_what_is_no_token_is_refused(one: Replica, broken: str) -> None:
    found = await sent(one, broken)
    assert (found.status, found.problem) == (401, "credentials-unknown")


async def test_a_scope_is_read_as_words_or_a_list_and_its_lack_names_it(
    own: Site, one: Replica, key_file: Path
) -> None:
    for scope in ("send:orders", "read send:orders write", "send:*", ["send:orders"]):
        assert (await sent(one, token(scope=scope))).status == 202
    for scope in (None, "", "send:reports", "orders", "SEND:ORDERS", 7, ["send"]):
        found = await sent(one, token(scope=scope))
        assert (found.status, found.body["scope"]) == (403, "send:orders")
    found = await post(one, done(), Authorization=f"Bearer {token()}")
    assert (found.status, found.body["flow"]) == (403, "reports")
    async with replica(own, **taking(key_file, LINKSPAN_INTAKE_JWT_SCOPE_CLAIM="flows")) as other:
        assert (await sent(other, token(flows=["send:orders"], scope=None))).status == 202
        assert (await sent(other, token())).status == 403


async def test_keys_and_tokens_are_taken_side_by_side(own: Site, one: Replica) -> None:
    async with operator(one, own) as by:
        key = (await issue(by, "beside")).key
    assert (await both_ways(one, key)).status == 202
    assert (await sent(one, token())).status == 202


async def test_a_new_key_of_the_issuer_counts_at_once_and_an_old_one_no_more(own: Site, key_file: Path) -> None:
    newer = ECKey.generate_key("P-256", {"kid": "newer"})
    file = own.folder / "rotated.json"
    publish(file, EC)
    async with replica(own, **taking(file)) as rotated:
        assert (await sent(rotated, token(newer))).status == 401
        publish(file, EC, newer)
        assert (await sent(rotated, token(newer))).status == 202
        assert (await sent(rotated, token())).status == 202
        publish(file, newer)
        assert (await sent(rotated, token(sub="another"))).status == 401
        assert (await sent(rotated, token(newer))).status == 202


async def test_an_issuer_that_is_away_is_no_reason_to_let_anybody_in(own: Site) -> None:
    issuer = Provider(EC)
    await issuer.start()
    await issuer.stop()
    async with replica(own, **taking(issuer.url)) as waiting:
        found = await sent(waiting, token())
        assert (found.status, found.headers["Retry-After"]) == (503, "5")
        assert (await both_ways(waiting)).status == 401
        await issuer.start()
        try:

            async def taken() -> bool:
                return (await post(waiting, Authorization=f"Bearer {token()}")).status == 202

            await becomes(taken)
            assert (await sent(waiting, token())).status == 202
        finally:
            await issuer.stop()
        assert (await sent(waiting, token(sub="another"))).status == 202, "its keys are remembered"
