"""Each set of values of the matrix, rendered once."""

from __future__ import annotations

from functools import lru_cache

import pytest
from tests.chart.rendered import MATRIX, Manifest, manifests, template


@lru_cache
def _rendered(values: str) -> str:
    return template("--values", values)


@lru_cache
def _objects(text: str) -> list[Manifest]:
    return manifests(text)


@pytest.fixture(params=MATRIX, ids=lambda path: path.stem)
def rendered(request: pytest.FixtureRequest) -> str:
    """The release with one set of values, as YAML."""
    return _rendered(str(request.param))


@pytest.fixture
def release(rendered: str) -> list[Manifest]:
    """The same, as objects."""
    return _objects(rendered)
