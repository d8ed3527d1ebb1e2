"""What somebody asks of a replay, as the owners of the partitions take it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from linkspan.control.errors import BadRequest, NotFound, wrong
from linkspan.control.v1 import replays_pb2 as pb
from linkspan.kernel.errors import Fault
from linkspan.kernel.records.plan import PlanHead, ReplayOptions
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_deliver import batch_fault

#: Where nothing is said.
_FAILURES, _YIELD_LAG = 0.1, 5.0
#: The share of failures says nothing before so many were sent, or the whole canary.
_MIN_SENT = 20


def options_of(request: pb.StartReplayRequest, head: PlanHead) -> ReplayOptions:
    """Without the trace that it belongs to. Raises BadRequest that lists every fault."""
    faults = [*_faults(request)]
    if faults:
        raise BadRequest(*faults)
    options = ReplayOptions(
        rate=request.rate,
        ramp=_seconds(request, "ramp", 0.0),
        max_failures=request.max_failures if request.HasField("max_failures") else _FAILURES,
        min_sent=_MIN_SENT,
        abort_on_breaker=not request.wait_for_breaker,
        abort_lag=_seconds(request, "abort_lag", 0.0),
        yield_lag=_seconds(request, "yield_lag", _YIELD_LAG),
        force=request.force,
        allow_superseded=request.allow_superseded,
        to=request.to,
        as_of=request.as_of,
    )
    if not request.canary:
        return options
    to_send = {part.partition: part.to_send(options) for part in head.partitions}
    return replace(options, canary=quotas(request.canary, to_send))


def check_target(integration: Integration, flow: str, to: str) -> None:
    """Raises NotFound, BadRequest."""
    spec = integration.flows[flow]
    if not to:
        return
    if to not in integration.systems:
        raise NotFound("NO_SUCH_SYSTEM", f"there is no system {to}; there are {', '.join(integration.systems)}")
    if to == spec.to:
        raise wrong("to", f"{to} is where {flow} delivers anyway: leave it out")
    batch = spec.deliver.batch
    fault = batch_fault("to", batch, spec.deliver.path, integration.systems[to].kind) if batch else None
    if fault is not None:
        raise BadRequest(fault)


def quotas(canary: int, to_send: Mapping[int, int]) -> dict[int, int]:
    """Each partition's part of the canary, by largest remainder, so that they add up to it; empty where there is
    nothing beyond the canary that a confirmation could be about."""
    whole = sum(to_send.values())
    if canary >= whole:
        return {}
    shares = {partition: canary * count / whole for partition, count in to_send.items() if count}
    found = {partition: math.floor(share) for partition, share in shares.items()}
    largest = sorted(shares, key=lambda one: (found[one] - shares[one], one))
    for partition in largest[: canary - sum(found.values())]:
        found[partition] += 1
    return found


def _faults(request: pb.StartReplayRequest) -> Iterator[Fault]:
    if fault := rate_fault(request.rate):
        yield fault
    if request.canary < 0:
        yield Fault("canary", f"a number of messages, 0 for none; got {request.canary}")
    if request.HasField("max_failures") and not 0 <= request.max_failures <= 1:
        yield Fault("max_failures", f"a share, 0 to 1; got {request.max_failures:g}")
    for name in ("ramp", "abort_lag", "yield_lag"):
        if request.HasField(name) and getattr(request, name).ToNanoseconds() < 0:
            yield Fault(name, "is not below 0")
    if request.expected < 0:
        yield Fault("expected", "a number of messages; 0: no matter")


def rate_fault(rate: float) -> Fault | None:
    if math.isfinite(rate) and rate >= 0:
        return None
    return Fault("rate", f"messages a second, 0 for no limit of its own; got {rate:g}")


def _seconds(request: Any, field: str, otherwise: float) -> float:
    return getattr(request, field).ToNanoseconds() / 1e9 if request.HasField(field) else otherwise
