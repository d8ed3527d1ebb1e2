"""What the tests of the command line share."""

from tests.integration.egress.conftest import bridge, rest

__all__ = ["bridge", "rest"]
