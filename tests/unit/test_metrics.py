"""Metrics say the same whether what they count comes alone or in batches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Histogram

from linkspan.kernel.telemetry.metrics import SECONDS, Durations

amounts = st.sampled_from([0.0, *SECONDS, 1e9]) | st.integers(0, 2**40).map(lambda number: number / 2**20)


@given(st.lists(amounts, min_size=1))
def test_many_amounts_at_once_are_observed_as_one_by_one(taken: list[float]) -> None:
    many = Durations("x", "x", ["flow"], buckets=SECONDS, registry=None)
    single = Histogram("x", "x", ["flow"], buckets=SECONDS, registry=None)
    many.labels("a").observe_all(taken)
    for amount in taken:
        single.labels("a").observe(amount)

    def said(of: Histogram) -> dict[str, float]:
        """Without the time at which it was made."""
        samples = [sample for metric in of.collect() for sample in metric.samples]
        return {f"{one.name}{one.labels}": one.value for one in samples if not one.name.endswith("_created")}

    assert said(many) == pytest.approx(said(single))  # sums of fractions
