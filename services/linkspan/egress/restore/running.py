"""Who still runs, where everything must be stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)

from linkspan.control.status_view import StatusView
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.spec import Integration
from linkspan.kernel.topics import egress_group

#: A Kafka that has just started is asked so often for its groups, once a second.
_ASKED = 30


async def running(
    clients: KafkaClients, integration: Integration, catalog: SchemaCatalog, flows: Iterable[str] = ()
) -> list[str]:
    """A line for each group with members and each replica that tells of itself. ``flows``: others than the file's.
    Raises KafkaError."""
    return [
        *await _members(clients, integration.integration, [*integration.flows, *flows]),
        *await _replicas(clients, integration.integration, catalog),
    ]


async def _members(clients: KafkaClients, integration: str, flows: Iterable[str]) -> list[str]:
    groups = [egress_group(integration, flow) for flow in flows]
    admin = clients.admin()
    try:
        await admin.start()
        said = await _described(admin, groups)
    finally:
        await admin.close()
    # error code, group, state, protocol type, protocol, members, …
    return [f"group {one[1]} has {len(one[5])} members: stop egress" for one in said if one[5]]


async def _replicas(clients: KafkaClients, integration: str, catalog: SchemaCatalog) -> list[str]:
    """Those that tell of themselves now: a process that still runs."""
    view = StatusView(clients, integration, catalog)
    following = asyncio.create_task(view.run())
    try:
        heard = [one for _ in range(2) for one in await view.replicas()]
    finally:
        following.cancel()
        await asyncio.wait({following})
    return sorted({f"{one['service']} {one['replica']} is running: stop it" for one in heard})


async def _described(admin: Any, groups: list[str]) -> list[Any]:
    """One by one, as aiokafka 0.14 reads an answer about several wrongly. Waits for the coordinator, which a new Kafka
    makes when it is asked first."""
    found: list[Any] = []
    for group in groups:
        for left in range(_ASKED, -1, -1):
            try:
                found += [one for answer in await admin.describe_consumer_groups([group]) for one in answer.groups]
                break
            except (GroupCoordinatorNotAvailableError, NotCoordinatorForGroupError, GroupLoadInProgressError):
                if not left:
                    raise
                await asyncio.sleep(1)
    return found
