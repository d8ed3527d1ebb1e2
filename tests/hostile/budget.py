"""How much a fuzzing test may try: a few examples in `make test`, FUZZ_SECONDS for each test in `make fuzz`."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

SECONDS = float(os.environ.get("FUZZ_SECONDS") or 0)
_HEALTH = [
    HealthCheck.too_slow,
    HealthCheck.function_scoped_fixture,
    HealthCheck.large_base_example,
    HealthCheck.filter_too_much,
    HealthCheck.data_too_large,
]
_FUZZ: dict[str, Any] = {"derandomize": False, "database": None} if SECONDS else {}


def budget(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Of a ``@given`` test; ``examples`` are a round. With FUZZ_SECONDS rounds follow until they have passed."""

    def limited(test: Callable[..., None]) -> Callable[..., None]:
        one = settings(max_examples=examples, deadline=None, suppress_health_check=_HEALTH, **_FUZZ)(test)
        return pytest.mark.fuzz(pytest.mark.timeout(SECONDS * 2 + 120)(_repeated(one)) if SECONDS else one)

    return limited


def _repeated(test: Callable[..., None]) -> Callable[..., None]:
    def rounds(**given: Any) -> None:
        end = time.monotonic() + SECONDS
        test(**given)
        while time.monotonic() < end:
            test(**given)

    rounds.__name__, rounds.__doc__, rounds.__module__ = test.__name__, test.__doc__, test.__module__
    rounds.__signature__ = inspect.signature(test)  # type: ignore[attr-defined]
    return rounds
