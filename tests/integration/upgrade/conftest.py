"""What the tests of upgrades share."""

from tests.integration.egress.conftest import bridge, rest

__all__ = ["bridge", "rest"]
