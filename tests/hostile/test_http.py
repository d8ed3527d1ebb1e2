"""What schemathesis makes of each OpenAPI document, against the real processes: problems, and never a fault of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from schemathesis.openapi import from_dict

from tests.hostile.budget import budget
from tests.integration.ingress.site import Replica, Site, order
from tests.integration.reference.reference_service import API_KEY, SECRET, Service, running
from tests.kafka_fixture import Kafka

PROBLEM = "application/problem+json"
_REFERENCE = "linkspan.reference."


@pytest.fixture(scope="module")
def ingress(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    replica = Replica(Site(tmp_path_factory.mktemp("site"), kafka.bootstrap))
    asyncio.run(replica.ready())
    yield replica.url, {}
    replica.kill()


@pytest.fixture(scope="module")
def plan_manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    options = ["--ingress-url", "http://127.0.0.1:9"]
    service = Service(f"{_REFERENCE}plan_manager.main", "plan_manager", tmp_path_factory.mktemp("a") / "data", options)
    with running(service):
        form = {"grant_type": "client_credentials", "client_id": "linkspan", "client_secret": SECRET}
        token = requests.post(f"{service.url}/oauth/token", data=form, timeout=60).json()["access_token"]
        yield service.url, {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    service = Service(f"{_REFERENCE}analysis.main", "analysis", tmp_path_factory.mktemp("b") / "data")
    with running(service):
        yield service.url, {"X-API-Key": API_KEY}


@pytest.mark.parametrize("process", ["ingress", "plan_manager", "analysis"])
def test_whatever_a_document_allows_or_not_is_answered_or_a_problem(
    process: str, request: pytest.FixtureRequest
) -> None:
    url, headers = request.getfixturevalue(process)
    schema = from_dict(requests.get(f"{url}/openapi.json", timeout=60).json())
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        try_operation(operation, url, headers)
        tried += 1
    assert tried


def try_operation(operation: Any, url: str, headers: dict[str, str]) -> None:
    modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]

    @budget(8)
    @given(st.data())
    def tried(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy(generation_mode=data.draw(st.sampled_from(modes))))
        answer = case.call(base_url=url, headers=headers, timeout=60, allow_redirects=False)
        answered_or_problem(answer, operation.path)

    tried()


def answered_or_problem(answer: Any, path: str) -> None:
    told = f"{answer.status_code}: {answer.content[:500]!r}"
    assert answer.status_code < 500 or answer.status_code == 503, told
    if answer.status_code >= 400:
        kind = answer.headers["content-type"]
        told_properly(kind if isinstance(kind, str) else kind[0], answer, path)
    assert b"Traceback" not in answer.content, told


def told_properly(kind: str, answer: Any, path: str) -> None:
    """A problem; but a batch has one for each line (docs/ingress.md), and OAuth its own form (RFC 6749, 5.2)."""
    found = answer.json()
    if path == "/v1/messages:batch" and PROBLEM not in kind:
        assert found["results"]
        assert all(one["type"].startswith("/problems/") and one["status"] >= 400 for one in found["results"])
    elif path == "/oauth/token" and PROBLEM not in kind:
        assert found["error"] in ("invalid_client", "invalid_request", "unsupported_grant_type", "invalid_scope")
    else:
        assert PROBLEM in kind, answer.content[:500]
        assert found["status"] == answer.status_code


BODIES = {
    "deep lists": b"[" * 200_000 + b"]" * 200_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a huge number": b'{"header": ' + b"9" * 500_000 + b"}",
    "a huge exponent": b'{"payload": {"count": 1e999999999}}',
    "a lone surrogate": b'{"header": {"type": "\\ud800"}}',
    "no UTF-8": b'{"header": {"type": "\xff\xfe"}}',
    "a NUL": b'{"header": {"type": "a\\u0000"}}',
    "the same field twice": b'{"header": {}, "header": {}}',
    "NaN": b'{"payload": {"count": NaN}}',
    "nothing": b"",
    "half": b'{"header": {"type": "Ord',
    "many fields": b"{" + b",".join(b'"f%d": 1' % n for n in range(50_000)) + b"}",
    "many bytes": b"\x00" * 500_000,
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages:batch"])
def test_a_hostile_body_is_a_problem(path: str, name: str, ingress: tuple[str, dict[str, str]]) -> None:
    url, _ = ingress
    answer = requests.post(url + path, BODIES[name], headers={"Content-Type": "application/json"}, timeout=60)
    assert 400 <= answer.status_code < 500
    answered_or_problem(answer, path)


@budget(40)
@given(st.sampled_from(["X-Correlation-Id", "traceparent", "X-Request-ID", "Prefer"]), st.text(max_size=60))
def test_no_header_of_a_sender_comes_back_as_one_of_ours(
    ingress: tuple[str, dict[str, str]], name: str, value: str
) -> None:
    """Whatever fits into a header's line is taken, made anew, or refused; nothing of it begins a line."""
    url, _ = ingress
    raw = "".join(sign for sign in value if sign.isprintable()).encode("utf-8", "replace")
    answer = requests.post(f"{url}/v1/messages", json=order(), headers={name: raw.strip()}, timeout=60)
    assert answer.status_code in (202, 400)
    assert "evil" not in answer.headers
    assert all(text.isascii() and text.isprintable() for text in answer.headers.values())


@pytest.mark.parametrize("value", ["a\r\nevil: 1", "a\nevil: 1", "\x1b[2J", "x" * 5_000])
@pytest.mark.parametrize("field", ["correlationId", "messageId", "type", "source"])
def test_line_ends_in_a_message_come_back_in_no_header(
    field: str, value: str, ingress: tuple[str, dict[str, str]]
) -> None:
    url, _ = ingress
    message = order()
    part = "metadata" if field == "correlationId" else "header"
    message[part][field] = value
    answer = requests.post(f"{url}/v1/messages", json=message, timeout=60)
    assert answer.status_code in (202, 400)
    assert "evil" not in answer.headers
    assert all(text.isprintable() for text in answer.headers.values())


PATHS = ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/docs/..%2f..%2fetc/passwd", "/static/../../etc/passwd",
         "//etc/passwd",
         "/docs%00", "/plans/..%5c..%5cx", "/v1/plans/../../x", "/static-offline-docs/..%2f..%2fmain.py"]  # fmt: skip


@pytest.mark.parametrize("process", ["ingress", "plan_manager", "analysis"])
def test_no_path_leads_out_of_the_pages(process: str, request: pytest.FixtureRequest) -> None:
    url, headers = request.getfixturevalue(process)
    with requests.Session() as session:
        for path in PATHS:
            asked = requests.Request("GET", url, headers=headers).prepare()
            asked.url = url + path  # as it is: requests would tidy it
            answer = session.send(asked, timeout=60, allow_redirects=False)
            assert b"root:" not in answer.content
            assert b"import " not in answer.content
            assert answer.status_code in (307, 400, 401, 404, 405, 422), f"{path}: {answer.status_code}"
