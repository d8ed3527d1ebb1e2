"""``GetStatus``: what the replicas say, summed for each flow, and what is in force."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from google.protobuf.duration_pb2 import Duration

from linkspan.control.errors import no_such_flow
from linkspan.control.host import Host
from linkspan.control.rollouts import Rollout
from linkspan.control.shown import timestamp
from linkspan.control.status_view import StatusView
from linkspan.control.tail import ControlTail
from linkspan.control.v1 import status_pb2 as pb
from linkspan.control.views.messages import ledger_status
from linkspan.kernel.codec import Datum
from linkspan.kernel.lifecycle import answers
from linkspan.kernel.message import now_micros
from linkspan.kernel.records.fact import DEAD
from linkspan.readmodel.away import DatabaseAway
from linkspan.readmodel.windows import FlowWindows

_BREAKERS = {
    "closed": pb.BREAKER_STATE_CLOSED,
    "probing": pb.BREAKER_STATE_PROBING,
    "open": pb.BREAKER_STATE_OPEN,
}

#: Seconds.
_MINUTE = 60


class Status:
    def __init__(self, host: Host, tail: ControlTail, view: StatusView) -> None:
        self._host, self._tail, self._view = host, tail, view

    async def now(self, flow: str) -> pb.GetStatusResponse:
        """``flow``: only that one; empty: all. Raises NotFound."""
        flows = self._host.integration.flows
        if flow and flow not in flows:
            raise no_such_flow(flow, flows)
        checks = await answers(self._host.checks)
        replicas, windows = await self._view.replicas(), self._view.windows()
        ledger, letters = await self._ledger()
        at = now_micros()
        found = [self._flow(name, replicas, at, windows.get(name)) for name in ([flow] if flow else flows)]
        for one in found:
            one.dead_letters = letters[one.flow] if ledger else -1
        return pb.GetStatusResponse(
            at=timestamp(at),
            integration=self._host.integration.integration,
            checks=[pb.Check(name=name, healthy=wrong is None, error=wrong or "") for name, wrong in checks.items()],
            replicas=sorted((_replica(one) for one in replicas), key=lambda one: (one.service, one.name)),
            flows=found,
            ledger=ledger,
            log_level=self._tail.state.log_level,
            rollout=_rollout(self._tail.state.rollouts.current),
        )

    async def _ledger(self) -> tuple[pb.LedgerStatus | None, Counter[str]]:
        """None where it cannot be asked, or has not begun; and dead letters by flow, as far as it has folded."""
        letters: Counter[str] = Counter()
        try:
            queries = await self._host.ledger.queries()
            folded = await queries.folded()
            for one in await queries.counts(None):
                letters[one.flow] += one.count if one.status == DEAD else 0
        except DatabaseAway:
            return None, letters
        return (ledger_status(folded) if folded else None), letters

    def _flow(self, name: str, replicas: Iterable[Datum], at: int, windows: FlowWindows | None) -> pb.FlowStatus:
        spec = self._host.integration.flows[name]
        said = [one for replica in replicas for one in replica["flows"] if one["flow"] == name]
        found = pb.FlowStatus(
            flow=name,
            source=spec.from_,
            destination=spec.to,
            partitions=spec.partitions,
            owned=len({partition for one in said for partition in one["partitions"]}),
            accepted=sum(one["accepted"] for one in said),
            delivered=sum(one["delivered"] for one in said),
            failed=sum(one["failed"] for one in said),
            lag=sum(one["lag"] for one in said),
            window=sum(one["window"] for one in said),
            attempts=sum(one["attempts"] for one in said),
            held_keys=sum(one["heldKeys"] for one in said),
            last_minute=_window(windows),
        )
        oldest = min((one["oldest"] for one in said if one["oldest"] is not None), default=None)
        if oldest is not None:
            found.oldest.CopyFrom(_duration(at - oldest))
        _say_breaker(found, said)
        self._say_pauses(found, name, spec.to)
        return found

    def _say_pauses(self, found: pb.FlowStatus, flow: str, destination: str) -> None:
        for target, paused in self._tail.state.pauses(flow, destination):
            found.pauses.add(target=target, by=paused.by, reason=paused.reason, at=timestamp(paused.at))
        if found.pauses:
            first = found.pauses[0]
            found.paused, found.paused_by, found.paused_reason = True, first.by, first.reason


def _rollout(current: Rollout | None) -> pb.Rollout | None:
    if current is None:
        return None
    said = current.stopped or current.started
    return pb.Rollout(
        to=current.plan.to,
        before=current.plan.before,
        share=current.share,
        since=timestamp(current.since),
        state=current.state,
        flows=current.plan.flows,
        by=said.by,
        reason=said.reason,
    )


def _window(windows: FlowWindows | None) -> pb.Window | None:
    found = windows.windows.get(_MINUTE) if windows is not None else None
    if found is None:
        return None
    return pb.Window(
        start=timestamp(found.since),
        length=_duration(found.until - found.since),
        rate=found.rate("delivered"),
        error_ratio=found.error_ratio,
        p50=_seconds(found.quantile(0.5)),
        p95=_seconds(found.quantile(0.95)),
        p99=_seconds(found.quantile(0.99)),
    )


def _seconds(said: float | None) -> Duration | None:
    return None if said is None else _duration(round(said * 1e6))


def _say_breaker(found: pb.FlowStatus, said: Sequence[Datum]) -> None:
    """The worst of all; no replica: not known."""
    worst = max((one for one in said if one["partitions"]), key=lambda one: _BREAKERS[one["breaker"]], default=None)
    if worst is not None:
        found.breaker = _BREAKERS[worst["breaker"]]
        found.breaker_reason = worst["reason"] or ""


def _replica(said: Datum) -> pb.ReplicaStatus:
    delivering = [one for one in said["flows"] if one["partitions"]]
    ends = ((one["use"], timestamp(one["expires"])) for one in said["certificates"])
    return pb.ReplicaStatus(
        name=said["replica"],
        service=said["service"],
        version=said["version"],
        at=timestamp(said["at"]),
        started=timestamp(said["started"]),
        control_address=said["controlAddress"],
        control_offset=said["control"],
        partitions=[pb.Partitions(flow=one["flow"], partitions=one["partitions"]) for one in delivering],
        accepted=sum(one["accepted"] for one in said["flows"]),
        spooled=said["spooled"],
        certificates=[pb.Certificate(use=use, expires=end) for use, end in ends],
    )


def _duration(micros: int) -> Duration:
    found = Duration()
    found.FromMicroseconds(max(0, micros))
    return found
