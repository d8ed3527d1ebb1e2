"""What the tests of ``linkspan repartition`` share."""

from tests.integration.egress.conftest import bridge, queue, rest

__all__ = ["bridge", "queue", "rest"]
