"""Which HTTP answer means what for a message."""

from __future__ import annotations

import json
from email.utils import formatdate
from time import time

import pytest

from linkspan.egress.deliver.http_answer import http_error
from linkspan.egress.partition.answer import Superseded, Unanswered
from linkspan.kernel.errors import RateLimited, Rejected, Transient, Unavailable
from linkspan.kernel.http.paths import PathTemplate

CLASSES = {
    Unavailable: (401, 403, 302, 307, 408, 503),
    RateLimited: (429,),
    Unanswered: (502, 504),
    Transient: (500, 501, 507),
    Rejected: (400, 404, 409, 410, 413, 422),
}


@pytest.mark.parametrize(("status", "expected"), [(status, kind) for kind, all_ in CLASSES.items() for status in all_])
def test_a_status_has_one_class(status: int, expected: type[Exception]) -> None:
    assert type(http_error(status, {}, b"")) is expected


def test_a_problem_is_told_with_its_errors_and_other_text_is_cut() -> None:
    problem = {"title": "The request is not valid.", "errors": [{"field": "payload.line", "error": "must be even"}]}
    found = http_error(422, {"Content-Type": "application/problem+json"}, json.dumps(problem).encode())
    assert found
    assert found.reason == "422 The request is not valid.; payload.line: must be even"
    found = http_error(500, {"Content-Type": "text/html"}, b"<p>\n" + b"x" * 10_000)
    assert found
    assert len(found.reason) == 304


def test_an_older_sequence_is_superseded() -> None:
    body = json.dumps({"type": "/problems/older-sequence", "title": "older"}).encode()
    assert isinstance(http_error(409, {"Content-Type": "application/problem+json"}, body), Superseded)


def test_retry_after_is_read_in_both_forms() -> None:
    for text, seconds in (("7", 7), (formatdate(time() + 60, usegmt=True), 60), ("soon", None)):
        found = http_error(503, {"Retry-After": text}, b"")
        assert found
        assert found.retry_after == (None if seconds is None else pytest.approx(seconds, abs=2))


def test_values_cannot_leave_their_segment_of_a_path() -> None:
    template = PathTemplate("/v1/plans/{planId}/x")
    assert template.fill({"planId": "../a b/?#%"}) == "/v1/plans/..%2Fa%20b%2F%3F%23%25/x"
    for values in ({}, {"planId": ""}, {"planId": ".."}, {"planId": None}, {"planId": {}}):
        with pytest.raises(Rejected, match="planId"):
            template.fill(values)
