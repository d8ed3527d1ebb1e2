"""A secret that is exchanged in its file is used from the next request, token or connection on."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import yaml
from tests.integration.egress.contract.test_adapters import Harness, delivery
from tests.integration.egress.destinations import QueueDestination, RestDestination

from linkspan.egress.deliver.rest import RestAdapter
from linkspan.egress.deliver.socket import NotConnected, open_socket
from linkspan.kernel.http.credentials import credentials_for
from linkspan.kernel.http.oauth2 import TokenSource
from linkspan.kernel.secret import HIDDEN, FileSecret, redacted, secret_of
from linkspan.kernel.spec import Deliver, System
from linkspan.kernel.spec_file import InvalidIntegration, load_integration


def integration(folder: Path, url: str, kind: str, auth: dict[str, object], **environ: str) -> System:
    spec = {
        "integration": "secrets",
        "systems": {
            "shop": {"kind": "rest", "url": "http://127.0.0.1:9"},
            "store": {"kind": kind, "url": url, "auth": auth},
        },
        "flows": {"orders": {"from": "shop", "to": "store", "type": "Order"}},
    }
    path = folder / "integration.yaml"
    path.write_text(yaml.safe_dump(spec))
    return load_integration(path, environ).systems["store"]


async def test_a_new_api_key_is_used_for_the_next_request(rest: RestDestination, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("the-first-key\n")
    auth: dict[str, object] = {"api_key": "${STORE_KEY}"}
    system = integration(tmp_path, rest.url, "rest", auth, STORE_KEY_FILE=str(file))
    rest.wanted_fields = {"X-API-Key": "the-first-key"}
    made = Harness("rest")
    made.destination, made.adapter = rest, RestAdapter(system, Deliver())
    await made.adapter.open()
    try:
        assert await made.answer(delivery(1)) is None
        file.write_text("the-second-key\n")
        rest.wanted_fields = {"X-API-Key": "the-second-key"}
        assert await made.answer(delivery(2)) is None
        rest.wanted_fields = {"X-API-Key": "not-known-here"}
        error = await made.answer(delivery(3))
        assert error is not None
        assert "refuses our credentials" in error.reason
    finally:
        await made.adapter.close()


async def test_a_new_api_key_is_used_for_the_next_connection(queue: QueueDestination, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("the-first-key")
    system = integration(tmp_path, queue.url, "websocket", {"api_key": "${STORE_KEY}"}, STORE_KEY_FILE=str(file))
    queue.api_key = "the-second-key"
    with pytest.raises(NotConnected):
        await open_socket(system, queue.url)
    file.write_text("the-second-key")
    await (await open_socket(system, queue.url)).close()


def test_a_variable_of_a_system_may_be_a_file_and_one_that_is_missing_is_named(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(" from a file \n")
    auth: dict[str, object] = {"oauth2": {"token_url": "/t", "client_id": "us", "client_secret": "in the file"}}
    found = integration(tmp_path, "https://a.test", "rest", auth, SYSTEM_B_CLIENT_SECRET_FILE=str(file)).auth
    assert found is not None
    assert found.oauth2 is not None
    assert found.oauth2.client_secret.get_secret_value() == "from a file"
    with pytest.raises(InvalidIntegration, match=r"SYSTEM_B_CLIENT_SECRET_FILE.*cannot be read"):
        integration(tmp_path, "https://a.test", "rest", auth, SYSTEM_B_CLIENT_SECRET_FILE=str(tmp_path / "none"))


def test_a_client_secret_is_the_one_of_now_also_in_another_process(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("a-first-secret")
    secret: FileSecret = pickle.loads(pickle.dumps(FileSecret(file)))  # noqa: S301
    auth = {"oauth2": {"token_url": "/t", "client_id": "us", "client_secret": secret}}
    system = System.model_validate({"kind": "rest", "url": "https://a.test", "auth": auth})
    nobody: object = None
    source = credentials_for(system, nobody)._source  # type: ignore[arg-type, attr-defined]
    assert isinstance(source, TokenSource)
    before = source._headers()
    file.write_text("a-second-secret")
    assert source._headers() != before
    file.write_text("")
    assert source._headers() != before  # what it said stays in force
    assert secret.get_secret_value() == "a-second-secret"
    assert "second" not in repr(secret) + str(secret)


def test_what_others_repeat_of_a_secret_is_hidden() -> None:
    secret = secret_of({"KEY": 'a/"long" secret+'}, "KEY")
    assert secret is not None
    for said in ('a/"long" secret+', "a%2F%22long%22+secret%2B", "a%2F%22long%22%20secret%2B", 'a/\\"long\\" secret+'):
        assert redacted(f"you sent {said}!") == f"you sent {HIDDEN}!"
    assert redacted("nothing of ours") == "nothing of ours"
