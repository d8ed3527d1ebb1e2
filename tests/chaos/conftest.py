"""The directed tests use the small integration of the egress tests, on a Kafka of the run or one of their own."""

from tests.integration.egress.conftest import bridge, queue, rest

__all__ = ["bridge", "queue", "rest"]
