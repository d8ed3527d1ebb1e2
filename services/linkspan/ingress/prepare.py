"""What has to be true of Kafka before anything is appended to it."""

from __future__ import annotations

import structlog

from linkspan.ingress.settings import IngressSettings
from linkspan.kernel.errors import KafkaAway
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.kafka.published import PublishedSchemas
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.spec import Integration
from linkspan.kernel.topic_admin import ensure_topics
from linkspan.readmodel.copies import unfinished_copies

log = structlog.get_logger()


class Preparing:
    """Topics exist and may be appended to, and every version can read the events that are."""

    def __init__(
        self, settings: IngressSettings, integration: Integration, catalog: SchemaCatalog, clients: KafkaClients
    ) -> None:
        self._settings, self._integration, self._catalog, self._clients = settings, integration, catalog, clients
        types = [flow.type for flow in integration.flows.values()]
        self._schemas = PublishedSchemas(clients, integration.integration, catalog, types)

    async def run(self) -> None:
        """Raises KafkaAway, KafkaError."""
        settings, integration = self._settings, self._integration
        for difference in await ensure_topics(settings.kafka, integration, security=settings.kafka_security):
            log.warning("a topic is not as it should be", difference=difference)
        async for flow, source in unfinished_copies(self._clients, integration, self._catalog):
            raise KafkaAway(f"flow {flow} does not have all of {source} yet: linkspan repartition {flow} FILE")
        await self._schemas.ready()
