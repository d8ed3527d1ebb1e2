"""A certificate that is served says in the metrics when it ends."""

import datetime as dt
from pathlib import Path

import pytest
from tests.authority import Authority

from linkspan.kernel.errors import UserMistake
from linkspan.kernel.telemetry.metrics import CERTIFICATE_EXPIRES
from linkspan.kernel.tls.served import Served, first_end, served


def told(use: str) -> float:
    (sample,) = [one for one in CERTIFICATE_EXPIRES.collect()[0].samples if one.labels == {"certificate": use}]
    return sample.value


def test_of_a_chain_the_certificate_that_ends_first_is_told(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    days = {name: authority.issue(name, days=number)[0].read_bytes() for name, number in (("a", 300), ("b", 100))}
    assert first_end(days["a"] + days["b"]) == first_end(days["b"]) < first_end(days["a"])


def test_a_certificate_that_was_exchanged_is_told_without_a_connection(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("old", days=10)
    kept = Served("a-test", cert, key)
    assert told("a-test") == first_end(cert.read_bytes())
    for new, place in zip(authority.issue("new", days=20), (cert, key), strict=True):
        new.replace(place)
    in_20_days = (dt.datetime.now(dt.UTC) + dt.timedelta(days=19)).timestamp()
    assert told("a-test") == kept.expires > in_20_days
    assert ("a-test", kept.expires) in served()


def test_a_key_that_does_not_fit_leaves_the_former_in_force(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("old", days=10)
    kept = Served("another-test", cert, key)
    context, end = kept.context.current, kept.expires
    authority.issue("new", days=20)[0].replace(cert)
    assert (kept.context.current, kept.expires) == (context, end)
    with pytest.raises(UserMistake, match="cannot be read"):
        Served("a-third-test", cert, key)
