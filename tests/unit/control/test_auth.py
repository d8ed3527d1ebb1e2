"""Who a caller is, by token, JWT or certificate."""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from linkspan.control.auth.authenticator import Authenticator
from linkspan.control.auth.first_token import first_token
from linkspan.control.auth.tokens import hash_of
from linkspan.control.errors import NotKnown
from linkspan.control.identity import Identity
from linkspan.control.settings import ControlSettings
from linkspan.kernel.errors import UserMistake

KEY, OTHER = ECKey.generate_key("P-256", {"kid": "a"}), ECKey.generate_key("P-256", {"kid": "b"})


def settings(folder: Path, **more: Any) -> ControlSettings:
    return ControlSettings(linkspan_data=folder, **more)


async def identify(authenticator: Authenticator, token: str | None, **names: list[bytes]) -> Identity | str:
    """The reason where nobody is known."""
    metadata = {} if token is None else {"authorization": f"Bearer {token}"}
    try:
        return await authenticator.identify(metadata, names)
    except NotKnown as error:
        return error.reason


def tokens(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines))
    return path


async def test_a_static_token_is_known_by_its_hash_until_it_expires(tmp_path: Path) -> None:
    file = tokens(
        tmp_path / "t.yaml",
        f"- {{name: anna, role: operator, sha256: {hash_of('one')}}}",
        f"- {{name: otto, role: admin, sha256: {hash_of('two')}, expires: 2020-01-31}}",
    )
    known = Authenticator.of(settings(tmp_path, linkspan_tokens=file))
    assert await identify(known, "one") == Identity("anna", "operator")
    assert await identify(known, "two") == "EXPIRED_TOKEN"
    assert await identify(known, "three") == "BAD_TOKEN"
    assert await identify(known, hash_of("one")) == "BAD_TOKEN"
    assert await identify(known, None) == "NO_CREDENTIALS"


async def test_a_changed_tokens_file_counts_at_once_and_a_broken_one_not_at_all(tmp_path: Path) -> None:
    line = f"- {{name: anna, role: operator, sha256: {hash_of('one')}}}"
    file = tokens(tmp_path / "t.yaml", line)
    known = Authenticator.of(settings(tmp_path, linkspan_tokens=file))
    tokens(file, line, f"- {{name: otto, role: viewer, sha256: {hash_of('two')}}}")
    assert await identify(known, "two") == Identity("otto", "viewer")
    tokens(file, "- {name: otto}")
    assert await identify(known, "two") == Identity("otto", "viewer")
    tokens(file, "[]")
    assert await identify(known, "two") == "BAD_TOKEN"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("- {name: a, role: king, sha256: " + "0" * 64 + "}", "role: there is no role 'king'"),
        ("- {name: a, role: admin, sha256: secret}", "sha256: expected the SHA-256"),
        ("- {name: a, role: admin}", "sha256: Field required"),
        ("name: a", "expected a list"),
    ],
)
def test_a_tokens_file_that_cannot_be_used_is_a_mistake_that_is_named(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(UserMistake) as error:
        Authenticator.of(settings(tmp_path, linkspan_tokens=tokens(tmp_path / "t.yaml", line)))
    assert said in str(error.value)
    assert "t.yaml" in str(error.value)


def signed(claims: dict[str, Any], key: Any = KEY, alg: str = "ES256") -> str:
    header = {"alg": alg, "kid": key.kid} if key.kid else {"alg": alg}
    return jwt.encode(header, {"sub": "anna", "exp": time.time() + 60} | claims, key)


async def test_a_jwt_counts_where_signature_issuer_audience_time_and_role_are_right(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_bytes(msgspec.json.encode({"keys": [KEY.as_dict(private=False)]}))
    known = Authenticator.of(
        settings(
            tmp_path,
            linkspan_jwks=str(keys),
            linkspan_jwt_issuer="https://idp",
            linkspan_jwt_audience="linkspan",
            linkspan_jwt_role_claim="roles",
        )
    )
    right = {"iss": "https://idp", "aud": "linkspan", "roles": ["viewer", "operator"]}
    assert await identify(known, signed(right)) == Identity("anna", "operator")
    assert await identify(known, signed(right | {"roles": "admin"})) == Identity("anna", "admin")
    assert await identify(known, signed(right | {"exp": time.time() - 120})) == "EXPIRED_TOKEN"
    for wrong in ({"iss": "https://other"}, {"aud": "shop"}, {"roles": "king"}, {"roles": None}, {"sub": None}):
        assert await identify(known, signed(right | wrong)) == "BAD_TOKEN", wrong
    assert await identify(known, signed(right, OTHER)) == "BAD_TOKEN"
    shared = OctKey.import_key(msgspec.json.encode(KEY.as_dict(private=False)))
    assert await identify(known, signed(right, shared, "HS256")) == "BAD_TOKEN", "no secret makes a token"
    none = signed(right).rpartition(".")[0] + "."
    assert await identify(known, none) == "BAD_TOKEN"


async def test_new_keys_count_without_a_restart(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_bytes(msgspec.json.encode({"keys": [KEY.as_dict(private=False)]}))
    known = Authenticator.of(settings(tmp_path, linkspan_jwks=str(keys)))
    token = signed({"role": "viewer"}, OTHER)
    assert await identify(known, token) == "BAD_TOKEN"
    keys.write_bytes(msgspec.json.encode({"keys": [one.as_dict(private=False) for one in (KEY, OTHER)]}))
    assert await identify(known, token) == Identity("anna", "viewer")


async def test_a_certificate_counts_by_its_names_and_a_token_before_it(tmp_path: Path) -> None:
    roles = tmp_path / "roles.yaml"
    roles.write_text("bot: operator\nops.example: admin\n")
    file = tokens(tmp_path / "t.yaml", f"- {{name: anna, role: viewer, sha256: {hash_of('one')}}}")
    known = Authenticator.of(
        settings(
            tmp_path, linkspan_tokens=file, linkspan_client_roles=roles, linkspan_control_client_ca=tmp_path / "ca"
        )
    )
    assert await identify(known, None, x509_common_name=[b"bot"]) == Identity("bot", "operator")
    other = {"x509_common_name": [b"x"], "x509_subject_alternative_name": [b"ops.example"]}
    assert await identify(known, None, **other) == Identity("ops.example", "admin")
    assert await identify(known, None, x509_common_name=[b"somebody"]) == "NO_CREDENTIALS"
    assert await identify(known, "one", x509_common_name=[b"bot"]) == Identity("anna", "viewer")


async def test_in_development_whoever_comes_first_makes_a_token_that_only_its_owner_can_read(tmp_path: Path) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(first_token(tmp_path / "control"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert stat.S_IMODE((tmp_path / "control" / "token").stat().st_mode) == 0o600
    assert os.listdir(tmp_path / "control") == ["token"]  # noqa: PTH208
    known = Authenticator.of(settings(tmp_path))
    assert await identify(known, found[0]) == Identity("local", "admin")
    assert await identify(known, "x") == "BAD_TOKEN"


def test_in_production_somebody_must_be_known(tmp_path: Path) -> None:
    with pytest.raises(UserMistake, match="LINKSPAN_TOKENS"):
        Authenticator.of(settings(tmp_path, integration_mode="production", linkspan_plain_text=None))
    assert not (tmp_path / "control").exists()
