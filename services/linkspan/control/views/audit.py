"""The account of each flow, proven from the log."""

from __future__ import annotations

import asyncio

from linkspan.control.errors import BadRequest
from linkspan.control.v1 import audit_pb2 as pb
from linkspan.control.views.scope import Scope
from linkspan.control.views.times import micros_of, timestamp
from linkspan.kernel.errors import Fault
from linkspan.readmodel.account import Account, Span, account


class Audits:
    """One at a time: each reads whole topics."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._one = asyncio.Lock()

    async def audit(self, request: pb.AuditRequest) -> pb.AuditResponse:
        span = _span(request)
        flows = self._scope.flows(*request.flows)
        found = []
        async with self._one:
            for flow in flows:
                scope = self._scope
                found.append(await account(scope.clients, scope.name, flow, scope.partitions(flow), span))
        return pb.AuditResponse(
            accounts=[_said(one) for one in found], balanced=all(one.counts.balanced for one in found)
        )


def _span(request: pb.AuditRequest) -> Span:
    start = micros_of(request.since) // 1000 if request.HasField("since") else None
    end = micros_of(request.until) // 1000 if request.HasField("until") else None
    if start is not None and end is not None and start >= end:
        raise BadRequest(Fault("until", "is not after since"))
    return Span(start, end)


def _said(one: Account) -> pb.FlowAccount:
    counts = one.counts
    return pb.FlowAccount(
        flow=one.flow,
        accepted=counts.accepted,
        in_flight=counts.in_flight,
        unaccounted=counts.unaccounted + counts.gone,
        strays=counts.strays,
        repeats=counts.repeats,
        records=one.records,
        missing=[
            pb.UnaccountedEvent(
                partition=event.partition,
                offset=event.offset,
                message_id=event.message_id or "",
                at=timestamp(event.at * 1000),
            )
            for event in one.missing
        ],
        **counts.statuses,
    )
