"""Fixtures that every test may use."""

import os

from hypothesis import settings

pytest_plugins = ["tests.kafka_fixture", "tests.database_fixture"]

# CI judges a change, so it draws the same examples every time; at a desk they are new ones.
settings.register_profile("ci", derandomize=True, print_blob=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
