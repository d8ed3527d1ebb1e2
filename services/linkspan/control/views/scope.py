"""What every view reads from."""

from __future__ import annotations

from dataclasses import dataclass

from linkspan.control.errors import NotFound
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.spec import Integration


@dataclass(frozen=True, slots=True)
class Scope:
    integration: Integration
    catalog: SchemaCatalog
    clients: KafkaClients

    @property
    def name(self) -> str:
        return self.integration.integration

    def flows(self, *wanted: str) -> list[str]:
        """These flows, or all of them where none is named (an empty name is none). Raises NotFound."""
        named = [name for name in wanted if name]
        there = self.integration.flows
        for name in named:
            if name not in there:
                raise NotFound("NO_SUCH_FLOW", f"there is no flow {name}; there are {', '.join(there)}")
        return named or list(there)

    def partitions(self, flow: str) -> int:
        return self.integration.flows[flow].partitions
