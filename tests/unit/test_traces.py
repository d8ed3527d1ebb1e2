"""The context that travels with a message, and which spans are exported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from linkspan import reference
from linkspan.egress.spans import FlowSpans
from linkspan.kernel.errors import Rejected, UserMistake
from linkspan.kernel.records.event import Event
from linkspan.kernel.spec_file import load_integration
from linkspan.kernel.telemetry.attributes import ATTEMPT, CORRELATION_ID, ERROR, LINK, MESSAGE_ID, REPLAY
from linkspan.kernel.telemetry.traces import Linked, Tracing, as_sampled, is_sampled, provided, valid

SENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNSAMPLED = SENT[:-2] + "00"
SECRETS = ("SYSTEM_A_CLIENT_ID", "SYSTEM_A_CLIENT_SECRET", "SYSTEM_B_API_KEY")


class Kept:
    """A tracer whose spans stay here."""

    def __init__(self, ratio: float) -> None:
        self._exporter = InMemorySpanExporter()
        provider = provided("test")
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = Tracing(provider, ratio)

    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())


@pytest.fixture
def kept() -> Iterator[Kept]:
    made = Kept(0.0)
    yield made
    made.tracing.close()


def parent_id(span: ReadableSpan) -> str:
    assert span.parent is not None
    return f"{span.parent.span_id:016x}"


def test_a_new_trace_is_one_that_others_take_and_so_many_are_sampled_as_is_said() -> None:
    for ratio, flag in ((0.0, "-00"), (1.0, "-01")):
        traced = [Tracing(None, ratio).begin("accept", None, SpanKind.SERVER).traceparent for _ in range(100)]
        assert all(valid(one) and one.endswith(flag) for one in traced)
        assert len({one[:52] for one in traced}) == 100


def test_the_decision_of_the_caller_is_kept(kept: Kept) -> None:
    everything = Kept(1.0)
    with everything.tracing.span("accept", UNSAMPLED, SpanKind.SERVER) as traced:
        assert traced.traceparent == UNSAMPLED
    with kept.tracing.span("accept", SENT, SpanKind.SERVER) as traced:
        assert traced.traceparent[:35] == SENT[:35]
        assert is_sampled(traced.traceparent)
    assert not everything.spans()
    assert [parent_id(span) for span in kept.spans()] == [SENT[36:52]]


def test_an_unsampled_span_that_fails_is_exported_with_all_it_was_told_and_its_true_beginning(kept: Kept) -> None:
    traced = kept.tracing.begin("deliver", UNSAMPLED, SpanKind.CLIENT, lambda: {ATTEMPT: 2})
    traced.belongs_to("c-1")
    kept.tracing.begin("append", UNSAMPLED, SpanKind.PRODUCER).span.end()
    kept.tracing.fail(traced, Rejected("422 no"))
    traced.span.end()
    (span,) = kept.spans()
    assert span.attributes == {ATTEMPT: 2, CORRELATION_ID: "c-1", ERROR: "rejected"}
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "422 no")
    assert span.parent is not None
    assert f"{span.parent.trace_id:032x}" == UNSAMPLED[3:35]
    assert parent_id(span) == UNSAMPLED[36:52]
    (event,) = span.events
    assert event.name == "exception"
    assert event.attributes
    assert event.attributes["exception.message"] == "422 no"
    assert span.start_time is not None
    assert span.start_time < event.timestamp <= (span.end_time or 0)


def test_what_is_asked_for_an_unsampled_span_is_not_made_unless_it_fails(kept: Kept) -> None:
    def made() -> dict[str, str]:
        raise AssertionError("nobody needs it")

    with kept.tracing.span("deliver", UNSAMPLED, SpanKind.CLIENT, made) as traced:
        traced.span.add_event("refused")
        traced.answered(200)
    assert not kept.spans()


def test_an_error_that_leaves_the_block_is_the_spans_and_goes_on(kept: Kept) -> None:
    with pytest.raises(KeyError), kept.tracing.span("transform", SENT, SpanKind.INTERNAL):
        raise KeyError("name")
    assert [(span.attributes or {})[ERROR] for span in kept.spans()] == ["KeyError"]


def test_what_must_be_seen_is_sampled_whatever_the_share_and_the_caller_say_and_so_is_what_follows(kept: Kept) -> None:
    for parent in (None, UNSAMPLED):
        with kept.tracing.span("replay", parent, SpanKind.SERVER, always=True) as traced:
            assert is_sampled(traced.traceparent)
            with kept.tracing.span("deliver", traced.traceparent, SpanKind.CLIENT):
                pass
    assert [span.name for span in kept.spans()] == ["deliver", "replay"] * 2
    assert is_sampled(Tracing(None, 0.0).begin("replay", None, SpanKind.SERVER, always=True).traceparent)


def test_links_say_what_the_other_span_is_and_those_without_context_are_left_out(kept: Kept) -> None:
    links = (Linked(SENT, "original", {MESSAGE_ID: "m"}), Linked(None, "replay"), Linked("00-zz", "replay"))
    kept.tracing.begin("deliver", None, SpanKind.CLIENT, links=links, always=True).span.end()
    (span,) = kept.spans()
    assert span.parent is None
    (link,) = span.links
    assert f"{link.context.trace_id:032x}-{link.context.span_id:016x}" == SENT[3:52]
    assert link.attributes == {LINK: "original", MESSAGE_ID: "m"}


def test_a_flag_that_is_set_stands_and_others_are_left() -> None:
    assert as_sampled(UNSAMPLED) == SENT == as_sampled(SENT)
    assert as_sampled(UNSAMPLED[:-2] + "02") == UNSAMPLED[:-2] + "03"


@pytest.mark.parametrize("said", ["much", "1.1", "-1", "nan"])
def test_a_share_that_is_none_is_told_by_its_name(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", said)
    with pytest.raises(UserMistake, match="OTEL_TRACES_SAMPLER_ARG"):
        Tracing.from_environment("test")


def test_the_sdk_switched_off_exports_nothing_and_passes_the_context_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    tracing = Tracing.from_environment("test")
    with tracing.span("accept", SENT, SpanKind.SERVER) as traced:
        assert traced.traceparent == SENT


def test_a_replayed_message_has_a_new_trace_always_that_links_to_the_original_and_to_the_replay(kept: Kept) -> None:
    path = Path(reference.__file__).parent / "integration.yaml"
    address = {"SYSTEM_A_ENDPOINT": "http://127.0.0.1:1", "SYSTEM_B_ENDPOINT": "ws://127.0.0.1:2"}
    integration = load_integration(path, address | dict.fromkeys(SECRETS, "x"))
    event = Event(7, b"", "m", "c", None, 1, UNSAMPLED, b"k", [])
    started = SENT.replace("4bf9", "aaaa")
    traceparent = FlowSpans(integration, "plan-uploaded", kept.tracing).replayed(event, "plan-1", started)
    (span,) = kept.spans()
    assert span.parent is None
    assert is_sampled(traceparent)
    assert traceparent[3:35] == f"{span.get_span_context().trace_id:032x}" != UNSAMPLED[3:35]  # type: ignore[union-attr]
    assert [(link.attributes or {})[LINK] for link in span.links] == ["original", "replay"]
    assert [f"{link.context.trace_id:032x}" for link in span.links] == [UNSAMPLED[3:35], started[3:35]]
    said = span.attributes or {}
    assert (said[CORRELATION_ID], said[REPLAY], said[MESSAGE_ID]) == ("c", "plan-1", "m")
