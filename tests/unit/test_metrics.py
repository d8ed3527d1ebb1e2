"""Metrics are declared once, stay few, and say the same whether what they count comes alone or in batches."""

import asyncio
import re
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY, CollectorRegistry, Histogram
from prometheus_client.openmetrics.exposition import generate_latest
from starlette.applications import Starlette

from linkspan.cli.observe.metrics_page import declared, metrics_page
from linkspan.kernel.lifecycle import add_operations, bind, http_server
from linkspan.kernel.telemetry.declared import LABELS, SECONDS, Durations, Process
from linkspan.kernel.telemetry.heartbeat import Heartbeat
from linkspan.kernel.telemetry.metrics import EVENT_LOOP_DELAY_SECONDS

ROOT = Path(__file__).parents[2]
amounts = st.sampled_from([0.0, *SECONDS, 1e9]) | st.integers(0, 2**40).map(lambda number: number / 2**20)
TRACED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def said(of: Histogram) -> dict[str, float]:
    samples = [sample for metric in of.collect() for sample in metric.samples]
    return {f"{one.name}{one.labels}": one.value for one in samples}


@given(st.lists(amounts, min_size=1), st.booleans())
def test_many_amounts_at_once_are_observed_as_one_by_one(taken: list[float], noted: bool) -> None:
    many = Durations("x", "x", ["flow"], buckets=SECONDS, registry=None)
    single = Histogram("x", "x", ["flow"], buckets=SECONDS, registry=None)
    if noted:
        for amount in taken:
            many.labels("a").note(amount)
    else:
        many.labels("a").observe_all(taken)
    for amount in taken:
        single.labels("a").observe(amount)
    assert said(many) == pytest.approx(said(single))  # sums of fractions


def test_what_is_noted_does_not_pile_up_while_nobody_reads_it() -> None:
    many = Durations("x", "x", registry=None)
    for _ in range(2_500):
        many.note(0.5)
    assert len(many._noted) == 500
    assert said(many)["x_count{}"] == 2_500


def test_a_sampled_trace_is_an_exemplar_of_its_bucket_and_another_is_not() -> None:
    registry = CollectorRegistry()
    taken = Durations("x_seconds", "x", buckets=SECONDS, registry=registry)
    taken.note(0.3)
    taken.example(0.3, TRACED)
    taken.example(0.003, TRACED[:-2] + "00")
    taken.example(0.003, None)
    lines = [line for line in generate_latest(registry).decode().splitlines() if "trace_id" in line]
    assert len(lines) == 1
    assert lines[0].startswith('x_seconds_bucket{le="0.5"} 1.0 # {trace_id="0af7651916cd43dd8448eb211c80319c"} 0.3')


def test_each_metric_is_declared_once_with_a_meaning_and_a_unit_and_its_name_fits_both() -> None:
    names = [one.name for one in declared()]
    assert len(names) == len(set(names))
    for one in declared():
        assert re.fullmatch(r"linkspan_[a-z0-9_]+", one.name)
        assert one.meaning.endswith(".")
        assert one.unit
        assert (one.type == "counter") == one.name.endswith("_total"), one.name
        if one.type == "histogram" or "seconds" in one.unit:
            assert one.name.endswith(f"_{one.unit.split()[0]}"), one.name


def test_nothing_is_registered_that_is_not_declared() -> None:
    known = {one.name.removesuffix("_total") for one in declared()}
    foreign = ("python_", "process_", "plan_manager_", "analysis_")  # of the library, and of the reference systems
    registered = {metric.name for metric in REGISTRY.collect() if not metric.name.startswith(foreign)}
    assert registered == known


def test_no_label_has_values_without_a_bound() -> None:
    used = {label for one in declared() for label in one.labels}
    assert used == LABELS.keys()
    assert not used & {"key", "message", "message_id", "messageId", "correlation_id", "id", "trace_id", "offset"}
    with pytest.raises(ValueError, match="nothing is said to bound the label message_id"):
        Process("egress").counter("linkspan_nonsense_total", "messages", "Nonsense.", "flow", "message_id")
    assert "linkspan_nonsense_total" not in {one.name for one in declared()}


def test_the_page_of_metrics_is_fresh() -> None:
    assert (ROOT / "docs/metrics.md").read_text() == metrics_page(), "make observe writes it"


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async def ready() -> None:
        return None

    app, listener = Starlette(), bind("127.0.0.1", 0)
    add_operations(app, ready=ready, checks={})
    async with http_server(app, listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/metrics"


@pytest.mark.parametrize(
    ("accept", "form", "end"),
    [
        (
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
            "application/openmetrics-text",
            b"# EOF\n",
        ),
        ("*/*", "text/plain", b"\n"),
        ("", "text/plain", b"\n"),
    ],
)
async def test_metrics_come_in_the_form_that_is_asked_for(address: str, accept: str, form: str, end: bytes) -> None:
    def get() -> tuple[str, bytes]:
        request = urllib.request.Request(address, headers={"Accept": accept})  # noqa: S310 - our own address
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return answer.headers["Content-Type"], answer.read()

    found, body = await asyncio.to_thread(get)
    assert found.startswith(form)
    assert body.endswith(end)
    assert (b"# EOF" in body) == (form != "text/plain")
    assert b"linkspan_event_loop_delay_seconds_bucket" in body


async def test_the_delay_of_the_event_loop_is_seen() -> None:
    def slower_than(bound: str) -> float:
        found = said(EVENT_LOOP_DELAY_SECONDS)
        return (
            found["linkspan_event_loop_delay_seconds_count{}"]
            - found[f"linkspan_event_loop_delay_seconds_bucket{{'le': '{bound}'}}"]
        )

    beat = Heartbeat()
    await asyncio.sleep(0.2)
    before = slower_than("0.1")
    time.sleep(0.6)  # noqa: ASYNC251 - what is to be seen
    await asyncio.sleep(0.01)
    beat.stop()
    assert slower_than("0.1") == before + 1
