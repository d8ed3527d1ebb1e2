"""A batch counts as one request of those that may be under way at once."""

from __future__ import annotations

from linkspan.kernel.resilience.limits import Limits


def test_a_batch_is_one_request_whatever_is_in_it() -> None:
    limits = Limits("store", None, 2)
    assert limits.budget(0.0, 1_000, 100) == 200
    for _ in range(150):
        limits.begin(100)
    assert limits.budget(0.0, 1_000, 100) == 50
    assert limits.budget(0.0, 10) == 0, "both requests are taken"
    for _ in range(50):
        limits.end(100)
    assert limits.budget(0.0, 10) == 1
    limits.begin()
    assert limits.budget(0.0, 1_000, 100) == 0
    for _ in range(100):
        limits.end(100)
    limits.end()
    assert limits.budget(0.0, 10) == 2
