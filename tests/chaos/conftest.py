"""The directed tests use the small integration of the egress tests, on a Kafka that takes short sessions."""

from collections.abc import Iterator

import pytest
from tests.chaos.nodes import QUICK
from tests.integration.egress.conftest import bridge, queue, rest
from tests.kafka_fixture import Kafka, require_embedded

from linkspan.broker import EmbeddedKafka

__all__ = ["bridge", "queue", "rest"]


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    require_embedded()
    with EmbeddedKafka(tmp_path_factory.mktemp("kafka"), properties=QUICK) as broker:
        yield broker
