"""Transforms of the orders integration."""

from pathlib import Path

import pytest
from tests.unit.transform.sample import Make

from linkspan.kernel.blobs import BlobStore
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_file import catalog_for, load_integration
from linkspan.kernel.spec_transform import StepSpec
from linkspan.transform import Transform

ORDERS = Path(__file__).parent / "orders/integration.yaml"


@pytest.fixture
def orders() -> Integration:
    return load_integration(ORDERS, {})


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(str(tmp_path / "blobs"))


@pytest.fixture
def make(orders: Integration, blobs: BlobStore) -> Make:
    """`make("…", step="…")`: the transform of order-placed with these steps instead of its own."""

    def made(*expressions: str, step: str | None = None, delivers: str | None = None) -> Transform:
        steps = [StepSpec(step=step)] if step else []
        steps += [StepSpec(jsonata=text) for text in expressions]
        flow = orders.flows["order-placed"].model_copy(
            update={"transform": tuple(steps), "delivers": delivers or "ShipmentOrder"}
        )
        spec = orders.model_copy(update={"flows": {**orders.flows, "order-placed": flow}})
        return Transform(spec, "order-placed", catalog_for(spec), blobs)

    return made
