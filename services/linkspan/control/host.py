"""What a process that serves the control API brings along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from linkspan.kernel.blobs import BlobStore
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.lifecycle import Check
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.spec import Integration
from linkspan.kernel.telemetry.traces import Tracing
from linkspan.readmodel.asked import Ledger


@dataclass(frozen=True, slots=True)
class Host:
    """``service``: ingress or egress; ``checks``: as ``/health`` asks them."""

    service: str
    integration: Integration
    catalog: SchemaCatalog
    clients: KafkaClients
    blobs: BlobStore
    ledger: Ledger
    checks: Mapping[str, Check]
    tracing: Tracing
