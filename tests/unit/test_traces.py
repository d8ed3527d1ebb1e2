"""The context that travels with a message."""

from opentelemetry.trace import SpanKind

from linkspan.kernel.telemetry.traces import Tracing, valid


def test_a_new_trace_is_one_that_others_take_and_so_many_are_sampled_as_is_said() -> None:
    for ratio, flag in ((0.0, "-00"), (1.0, "-01")):
        traced = [Tracing(None, ratio).begin("accept", None, SpanKind.SERVER).traceparent for _ in range(100)]
        assert all(valid(one) and one.endswith(flag) for one in traced)
        assert len({one[:52] for one in traced}) == 100
