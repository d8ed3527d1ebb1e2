"""What the tests with Kafka's own MirrorMaker share."""

from tests.integration.egress.conftest import bridge, queue, rest

__all__ = ["bridge", "queue", "rest"]
