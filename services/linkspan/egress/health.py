"""What ``/ready`` and ``/health`` ask."""

from __future__ import annotations

from collections.abc import Sequence

from linkspan.control.tail import ControlTail
from linkspan.egress.deliver.adapter import Adapter
from linkspan.egress.deliver.reach import listens
from linkspan.egress.own.member import FlowMember
from linkspan.kernel.lifecycle import Check
from linkspan.kernel.spec import System


def queue_check(members: Sequence[FlowMember], tail: ControlTail) -> Check:
    """All flows are members of their groups, Kafka answers, and what is paused is known."""

    async def check() -> str | None:
        trouble = next((trouble for member in members if (trouble := member.trouble())), None)
        return trouble or (None if tail.caught_up.is_set() else "the control topic is not read to its end yet")

    return check


def logs_check(queue: Check, members: Sequence[FlowMember]) -> Check:
    """``queue``, and that the logs of all partitions that are owned here fit their positions."""

    async def check() -> str | None:
        if trouble := await queue():
            return trouble
        owners = [(member, owner) for member in members for owner in member.owners() if owner.misfit]
        if not owners:
            return None
        where = ", ".join(sorted(f"{member.flow} {owner.partition}" for member, owner in owners))
        return f"not delivered: {where}; {owners[0][1].misfit}"

    return check


def destination_check(system: System, adapters: Sequence[Adapter]) -> Check:
    """What the adapters that deliver there say; where none does, whether somebody listens."""

    async def check() -> str | None:
        for adapter in adapters:
            trouble = await adapter.check()
            if trouble:
                return trouble
        return None if adapters else await listens(system.url)

    return check
