"""What a planner process works with."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

from linkspan.kernel.blobs import BlobStore
from linkspan.kernel.config import read_settings
from linkspan.kernel.crypto.start import blob_store
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.kafka.published import PublishedSchemas
from linkspan.kernel.kafka.security import OPEN
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_file import remember_secrets
from linkspan.kernel.topics import FlowTopics
from linkspan.replay.compared import Versions
from linkspan.replay.wire import Setting


@dataclass(frozen=True, slots=True)
class Place:
    clients: KafkaClients
    integration: Integration
    catalog: SchemaCatalog
    blobs: BlobStore

    @classmethod
    def of(cls, setting: Setting) -> Place:
        security = read_settings().kafka_security if setting.secured else OPEN  # of the replica's environment
        integration, catalog = pickle.loads(setting.made)  # noqa: S301 - from the replica that started this process
        remember_secrets(integration)
        clients = KafkaClients(setting.servers, security, name="linkspan-planner")
        clients.archive = setting.archive
        keyring = Path(setting.keyring) if setting.keyring else None
        blobs = blob_store(setting.blobs, keyring, integration.integration)
        return cls(clients, integration, catalog, blobs)

    @property
    def schemas(self) -> PublishedSchemas:
        return PublishedSchemas(self.clients, self.integration.integration, self.catalog)

    def topics(self, flow: str) -> FlowTopics:
        return FlowTopics.of(self.integration.integration, flow)

    def versions(self, flow: str, texts: dict[str, str]) -> Versions:
        """Of the flow's transform."""
        return Versions(self.integration, flow, self.catalog, self.blobs, texts)
