"""Fixtures that every test may use."""

import gc
import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

from linkspan.broker import ports

# What the tests start speaks in the clear, but for those that say otherwise.
os.environ["LINKSPAN_PLAIN_TEXT"] = "development"

# A shell lets what it starts in the background ignore Ctrl-C, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.kafka_fixture", "tests.database_fixture"]

# A port is free until what it was chosen for listens there: no two workers choose from the same ones.
NUMBER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
PART = (ports.HIGHEST + 1 - ports.LOWEST) // WORKERS
ports.LOWEST += PART * NUMBER
ports.HIGHEST = ports.LOWEST + PART - 1

# CI judges a change, so it draws the same examples every time; at a desk they are new ones.
# None is judged by its time: machines are shared.
settings.register_profile("desk", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("desk"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")
if os.environ.get("CI"):
    # It takes constants from the modules that are imported, which depends on what the worker ran before.
    providers._get_local_constants = lambda: providers._local_constants  # type: ignore[attr-defined]

#: Folders and files whose tests start several processes each, kill them, and take half a minute or more: make thorough.
THOROUGH = tuple(
    Path(__file__).parent / "integration" / name
    for name in (
        "archive",
        "at_rest",
        "repartition",
        "mirror",
        "tls",
        "upgrade",
        "control/test_letters_reading.py",
        "egress/test_restored.py",
        "ingress/test_spool_killed.py",
        "insight/test_insight_numbers.py",
        "insight/test_insight_recovery.py",
        "ledger/test_ledger_away.py",
        "ledger/test_ledger_rebuild.py",
    )
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in THOROUGH):
            item.add_marker("thorough")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish() -> None:
    """Finalizers run now: schemathesis imports a module next, and CPython 3.11 fails where one runs amid its parsing
    (SystemError, python/cpython#106905)."""
    gc.collect()
