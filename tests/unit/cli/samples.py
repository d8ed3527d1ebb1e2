"""Answers of a control API as the CLI's tests show them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from linkspan.control.v1 import letters_pb2, messages_pb2, replays_pb2, status_pb2

NOW = datetime(2026, 11, 23, 6, 40, 12, 345_000, UTC)
IDS = [f"0193588a-7c1e-7a3b-9c4d-{number:012x}" for number in range(4)]


def at(seconds: float = 0.0) -> Timestamp:
    """So long after NOW."""
    made = Timestamp()
    made.FromDatetime(NOW + timedelta(seconds=seconds))
    return made


def lasting(seconds: float) -> Duration:
    made = Duration()
    made.FromNanoseconds(round(seconds * 1e9))
    return made


def status() -> status_pb2.GetStatusResponse:
    checks = [status_pb2.Check(name=name, healthy=True) for name in ("systemA", "systemB", "messageQueue")]
    checks.append(status_pb2.Check(name="database", error="connection refused"))
    uploaded = status_pb2.FlowStatus(
        flow="plan-uploaded",
        source="plan-manager",
        destination="analysis",
        partitions=12,
        owned=12,
        accepted=812.4,
        delivered=9.96,
        failed=0.5,
        lag=104_233,
        oldest=lasting(754),
        window=1000,
        held_keys=3,
        dead_letters=2,
        breaker=status_pb2.BREAKER_STATE_OPEN,
        breaker_reason="analysis: no answer in 10 s",
        last_minute=status_pb2.Window(p50=lasting(0.012), p99=lasting(1.4)),
    )
    complete = status_pb2.FlowStatus(
        flow="analysis-complete",
        source="analysis",
        destination="plan-manager",
        partitions=12,
        owned=12,
        breaker=status_pb2.BREAKER_STATE_CLOSED,
        paused=True,
        paused_by="alice",
        paused_reason="maintenance of the plan manager",
        pauses=[
            status_pb2.Paused(target="flow analysis-complete", by="alice", reason="maintenance of the plan manager"),
            status_pb2.Paused(target="destination plan-manager", by="bob"),
        ],
    )
    return status_pb2.GetStatusResponse(
        at=at(),
        integration="plans",
        checks=checks,
        flows=[uploaded, complete],
        replicas=replicas(),
        ledger=status_pb2.LedgerStatus(lag=0, at=at(-0.4)),
    )


def replicas() -> list[status_pb2.ReplicaStatus]:
    owned = [
        status_pb2.Partitions(flow="plan-uploaded", partitions=[0, 1, 2, 3, 7]),
        status_pb2.Partitions(flow="analysis-complete", partitions=list(range(12))),
    ]
    shared = {"version": "0.1.0", "at": at(), "control_offset": 41}
    egress = status_pb2.ReplicaStatus(
        name="egress-7d9c-1",
        service="egress",
        started=at(-7391),
        control_address="10.0.0.7:50052",
        partitions=owned,
        **shared,
    )
    ingress = status_pb2.ReplicaStatus(
        name="ingress-5b", service="ingress", started=at(-12), accepted=812.4, spooled=1201, **shared
    )
    return [egress, ingress]


def message(number: int = 0, **more: object) -> messages_pb2.Message:
    known = {
        "flow": "plan-uploaded",
        "partition": 3,
        "offset": 1042 + number,
        "message_id": IDS[number],
        "correlation_id": IDS[3],
        "key": "plan-17",
        "type": "PlanUploaded",
        "source": "plan-manager",
        "destination": "analysis",
        "priority": "normal",
        "status": messages_pb2.MESSAGE_STATUS_DELIVERED,
        "accepted_at": at(),
        "decided_at": at(0.123),
        "delivered_at": at(0.123),
        "attempts": 1,
        "size": 12_345,
    }
    return messages_pb2.Message(**(known | more))


def dead() -> messages_pb2.Message:
    return message(
        1,
        status=messages_pb2.MESSAGE_STATUS_DEAD_LETTERED,
        delivered_at=None,
        failure="rejected",
        reason="422 payload.storeys: [red]must be at least 1[/red]\x1b[31m",
    )


def answer() -> messages_pb2.GetMessageResponse:
    entries = [
        messages_pb2.TimelineEntry(kind="accepted", at=at()),
        messages_pb2.TimelineEntry(
            kind="attempt_failed", at=at(0.05), attempt=1, failure="transient", reason="500 try later", epoch=3
        ),
        messages_pb2.TimelineEntry(
            kind="delivered", at=at(0.123), attempt=2, destination="analysis", transform="4c1f7a90b2d35e11", epoch=3
        ),
        messages_pb2.TimelineEntry(kind="dead_lettered", at=at(0.2), epoch=2, stale=True, failure="rejected"),
    ]
    ledger = status_pb2.LedgerStatus(lag=0, at=at(1))
    return messages_pb2.GetMessageResponse(
        message=message(), timeline=entries, content='{"planId": "plan-17", "storeys": 2}', ledger=ledger
    )


def letters() -> letters_pb2.ListDeadLettersResponse:
    reason = "422 payload.storeys: must be at least 1, and here is much more about it that goes on and on"
    group = letters_pb2.DeadLetterGroup(
        flow="plan-uploaded",
        failure="rejected",
        fingerprint="9f2c31d0a1b2",
        reason=reason,
        letters=214,
        waiting=1022,
        oldest=at(-7200),
        newest=at(-60),
    )
    letter = letters_pb2.DeadLetter(
        flow="plan-uploaded",
        name="3:1042",
        key="plan-17",
        message_id=IDS[0],
        failure="rejected",
        reason=reason,
        fingerprint="9f2c31d0a1b2",
        attempts=1,
        at=at(-60),
        waiting=5,
    )
    return letters_pb2.ListDeadLettersResponse(groups=[group], letters=[letter], total=214)


def plan() -> replays_pb2.Plan:
    return replays_pb2.Plan(
        plan=IDS[0],
        flow="orders",
        by="alice",
        reason="the store lost 20 minutes",
        at=at(),
        sha256="ab" * 32,
        records=1_240,
        bytes=1_300_000,
        scanned=5_000,
        dispositions={"delivered": 200, "already_delivered": 1_000, "held": 40},
        forced={"delivered": 900, "superseded": 300, "held": 40},
        forced_all={"delivered": 1_200, "held": 40},
        statuses={"delivered": 1_000, "expired": 200, "held": 40},
        hours={"2026-11-23T04:00Z": 40, "2026-11-23T05:00Z": 1_200},
        keys=[replays_pb2.KeyCount(key="order-\x1b[31m7", count=30), replays_pb2.KeyCount(key="order-8", count=2)],
        distinct_keys=411,
        estimated=lasting(20),
        selection='{"flow":"orders","predicate":"payload.total > 1"}',
        predicate_failures=3,
        predicate_failure="the predicate failed: odd",
        samples=[
            replays_pb2.PlanSample(
                partition=1,
                offset=77,
                message_id=IDS[1],
                key="order-8",
                accepted_at=at(-3_600),
                status="delivered",
                disposition="already_delivered",
                transform="0123456789abcdef",
                then='{"id":"8","total":1}',
                now='{"id":"8","total":2}',
                differs=True,
            )
        ],
    )
